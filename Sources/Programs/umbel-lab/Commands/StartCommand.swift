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
        let deadline = ContinuousClock.now + LabBuilder.limit
        let progress = Progress()
        try await lab.change { manifest, folder in
            let index = try manifest.index(of: host)
            guard !manifest.hosts[index].programs.isEmpty else {
                throw LabError("\(host) runs no programs", why: "its role has none")
            }
            for program in manifest.hosts[index].programs.indices {
                let state = manifest.hosts[index].programs[program].process?.state ?? .gone
                guard state == .gone else { continue }
                try ProgramStarter.start(&manifest.hosts[index].programs[program])
                try folder.save(manifest)
            }
            let current = manifest.hosts[index]
            for program in current.programs {
                try await ProgramStarter.waitUntilReady(program, of: current, deadline: deadline)
            }
            if current.role == .client, let umbel = manifest.umbel {
                try await DaemonLauncher.connect(current, umbel: umbel, deadline: deadline)
            }
            progress.say("\(host) is ready")
        }
    }
}
