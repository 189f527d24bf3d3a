import ArgumentParser

/// `umbel-lab start HOST`: starts what does not run there and waits until it is ready.
struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start the programs of a host again, as `up` did."
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The host.") var host: String

    func run() async throws {
        let progress = Progress()
        try await lab.change { manifest, folder in
            try await LabStart.start(host, of: &manifest, in: folder)
            progress.say("\(host) is ready")
        }
    }
}
