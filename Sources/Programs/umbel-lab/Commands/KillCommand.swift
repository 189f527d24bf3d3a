import ArgumentParser
import Glibc

/// `umbel-lab kill HOST`: signals the host's programs.
struct KillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill",
        abstract: "Send a signal to the programs of a host; `start` brings them back."
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The host.") var host: String
    @Option(help: "The signal: KILL, TERM, INT, HUP, STOP, CONT, USR1, USR2, QUIT or ABRT.")
    var signal = SignalName(number: SIGKILL)

    func run() async throws {
        try await lab.change { manifest, _ in
            let host = manifest.hosts[try manifest.index(of: host)]
            let processes = host.programs.compactMap(\.process).filter { $0.state != .gone }
            guard !processes.isEmpty else {
                throw LabError("nothing runs on \(host.name)", why: "there is nobody to signal")
            }
            guard [SIGKILL, SIGTERM, SIGINT].contains(signal.number) else {
                for process in processes { process.sendToGroup(signal.number) }
                return
            }
            try await ProcessIdentity.end(processes, of: host.name, by: signal.number)
        }
    }
}

/// A signal by name, with or without SIG.
struct SignalName: ExpressibleByArgument {
    var number: Int32

    private static let numbers: [String: Int32] = [
        "KILL": SIGKILL, "TERM": SIGTERM, "INT": SIGINT, "HUP": SIGHUP, "STOP": SIGSTOP,
        "CONT": SIGCONT, "USR1": SIGUSR1, "USR2": SIGUSR2, "QUIT": SIGQUIT, "ABRT": SIGABRT,
    ]

    init(number: Int32) {
        self.number = number
    }

    init?(argument: String) {
        let upper = argument.uppercased()
        let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        guard let number = Self.numbers[name] else { return nil }
        self.number = number
    }

    var defaultValueDescription: String {
        Self.numbers.first { $0.value == number }?.key ?? "\(number)"
    }
}
