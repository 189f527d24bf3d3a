import ArgumentParser
import ControlAPI
import FoundationEssentials
import Glibc
import HostNetwork
import NodeConfiguration
import NodeRuntime

/// `umbel lockdown`: whether traffic stays blocked while nobody is connected.
struct LockdownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lockdown",
        abstract: "Keep traffic blocked after `umbel down` too, and from the start of the machine.",
        subcommands: [
            LockdownOnCommand.self, LockdownOffCommand.self, LockdownApplyCommand.self,
        ]
    )
}

/// `umbel lockdown on`.
struct LockdownOnCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "on",
        abstract: "Block whatever does not go through a circuit, now and from now on."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = try await socket.startedDaemon().client
        try Output.show(await client.setLockdown(LockdownRequest(isOn: true)), format)
    }
}

/// `umbel lockdown off`.
struct LockdownOffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "off",
        abstract: "Let traffic out directly again while nobody is connected."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = try await socket.startedDaemon().client
        try Output.show(await client.setLockdown(LockdownRequest(isOn: false)), format)
    }
}

/// `umbel lockdown apply`: the lock before there is a daemon.
struct LockdownApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Block traffic where lockdown is on; for the start of the machine.",
        discussion: "Needs no daemon and no network. Does nothing where lockdown is off."
    )

    @Option(
        help: ArgumentHelp("Configuration file of the daemon.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var config = DaemonStart.configuration

    func run() async throws {
        let file = try ClientConfiguration(
            file: config,
            environment: ProcessInfo.processInfo.environment
        )
        let isOn = try await Starting.attempt("the lock") { try await BootLock.apply(file) }
        Output.note(isOn ? "lockdown is on: traffic is blocked" : "lockdown is off")
    }
}

/// `umbel login`: a window for a network that wants one.
struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Let your web traffic by for 5 minutes, to log in to the network you are in.",
        discussion: """
            Hotels and trains answer everything with a page of their own until one agrees to it. \
            While the window is open, programs of your user reach web servers (TCP ports 80, 443, \
            8080, 8443) and the network's resolver directly, past the circuit: whoever runs the \
            network sees it. Other users and other traffic stay blocked. The kernel closes it on \
            time, whatever becomes of the daemon.
            """
    )

    @Flag(help: "Close the window before its time.")
    var end = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let user = try Self.user(ProcessInfo.processInfo.environment)
        let seconds = end ? 0 : LoginRequest.secondsLimit
        let report = try await socket.client.login(LoginRequest(user: user, seconds: seconds))
        if format.json { return try Output.printJSON(report) }
        guard !end else { return Output.print("closed: nothing goes past the circuit any more") }
        let text = """
            OPEN FOR \(seconds / 60) MINUTES: web traffic of user \(user) goes out directly, past the \
            circuit. Open any http:// page, log in, and close the window with: umbel login --end
            """
        Output.print(Text.wrapped(text, after: "", width: Terminal.output.width))
    }

    /// Whose traffic it is: the user's behind sudo, else the one who runs this.
    static func user(_ environment: [String: String]) throws -> UInt32 {
        guard geteuid() == 0, let text = environment["SUDO_UID"] else { return geteuid() }
        guard let user = UInt32(text) else {
            throw ValidationError("SUDO_UID is no user: \(text)")
        }
        return user
    }
}
