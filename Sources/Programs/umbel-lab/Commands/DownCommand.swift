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
        let lock = try folder.lock()
        defer { lock.release() }
        if let manifest = try folder.manifest() {
            try await LabRemoval(folder: folder).remove(manifest, progress: progress)
        } else {
            try folder.remove()
        }
        progress.say("lab `\(lab.name)` is gone")
    }
}
