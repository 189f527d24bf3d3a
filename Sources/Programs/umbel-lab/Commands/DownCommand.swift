import ArgumentParser

/// `umbel-lab down`: takes the lab away, whatever state it is in.
struct DownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down",
        abstract: "End the lab's programs and remove everything it made; safe to repeat."
    )

    @OptionGroup var lab: LabOptions

    func run() async throws {
        let folder = try lab.folder()
        let progress = Progress()
        guard LabFolder.all().contains(lab.name) else {
            progress.say("there is no lab `\(lab.name)`")
            return
        }
        try await LabRemoval(folder: folder).removeAll(progress: progress)
        progress.say("lab `\(lab.name)` is gone")
    }
}
