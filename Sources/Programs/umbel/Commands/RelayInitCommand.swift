import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import FoundationEssentials
import Glibc
import NodeConfiguration
import NodeRuntime

/// `umbel relay init`: everything a new relay needs.
struct RelayInitCommand: AsyncParsableCommand {
    /// What was made, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let identity: String
        let config: String
        let unit: String
        let ports: [String]
    }

    /// What an exit lets out: ``RelayConfiguration/PortPreset`` by name.
    enum Preset: String, CaseIterable, ExpressibleByArgument {
        case web, reduced, open
    }

    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a relay's keys and configuration.",
        discussion: """
            Asks for what is not given, on a terminal. Nothing that is there is overwritten, and \
            where something is wrong nothing is left behind.
            """
    )

    @Option(help: "The relay's name in the directory: 1 to 19 letters, digits or hyphens.")
    var name: String?
    @Option(help: "How to reach you; it is public.")
    var contact: String?
    @Option(
        help: ArgumentHelp(
            "An address and port to receive on, such as 192.0.2.11:4433; may be given twice.",
            valueName: "address"
        )
    )
    var address: [String] = []
    @Option(
        help: ArgumentHelp(
            "The address and port others reach it by, where your router forwards them.",
            discussion: "One of each family. Default: the addresses it receives on.",
            valueName: "address"
        )
    )
    var announce: [String] = []
    @Option(help: "What it may send and receive, such as \"100 Mbit/s\".")
    var rate: String?
    @Option(help: "What it may carry in a month, such as \"2 TB\".")
    var quota: String?
    @Flag(help: "Let traffic leave the network here.")
    var exit = false
    @Option(help: "What an exit lets out.")
    var preset = Preset.reduced
    @Option(help: ArgumentHelp("The key of your family of relays.", valueName: "file"))
    var familyKey: String?
    @Option(help: ArgumentHelp("The network's trust root.", valueName: "file"))
    var network = "/etc/umbel/network.toml"
    @Option(help: ArgumentHelp("Where to write the configuration.", valueName: "file"))
    var config = RelayCommand.defaultConfiguration
    @Option(help: ArgumentHelp("Folder for keys and state.", valueName: "folder"))
    var state = "/var/lib/umbel/relay"
    @Option(help: ArgumentHelp("Control socket.", valueName: "path"))
    var socket = RelayConfiguration.defaultSocket
    @Option(help: ArgumentHelp("Loopback address for metrics.", valueName: "address"))
    var metrics = "127.0.0.1:9464"
    @Flag(help: "Ask nothing: what is not given has its default.")
    var yes = false
    @OptionGroup var format: FormatOptions

    func run() async throws {
        var answers = self
        try answers.ask()
        try await answers.make()
    }

    // MARK: Asking

    private mutating func ask() throws {
        let mayAsk = !yes && isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1
        guard mayAsk else {
            let missing = [name == nil ? "--name" : nil, address.isEmpty ? "--address" : nil]
                .compactMap(\.self)
            guard missing.isEmpty else {
                throw ValidationError(
                    "\(missing.joined(separator: " and ")) must be given where nobody can be asked"
                )
            }
            return
        }
        RelayQuestions.ask(&self)
    }

    // MARK: Making

    private func make() async throws {
        guard !FileManager.default.fileExists(atPath: config) else {
            throw Failure(
                "\(config) is there already",
                why: "init makes a new relay and overwrites none",
                hint: "edit it, or name another file with --config",
                exit: .failed
            )
        }
        var made = MadeFiles()
        do {
            // Under another name first: read as the relay will read it, before anything else is made.
            let draft = "\(config).new"
            try OutputFile.write(Array(text.utf8), to: draft)
            made.note(draft)
            let configuration = try RelayConfiguration(file: draft)
            let problems = configuration.fileProblems().filter { !$0.what.contains(state) }
            guard problems.isEmpty else { throw ConfigurationError(problems) }
            _ = try NetworkConfiguration(file: configuration.directory.network)
            try await Starting.attempt("the relay") {
                try ListenCheck.run(configuration.listenAddresses)
            }
            let keys = try await makeKeys(noting: &made)
            guard rename(draft, config) == 0 else {
                throw Failure(
                    "\(config) cannot be written",
                    why: String(cString: strerror(errno)),
                    hint: "check its folder and the room on its disk",
                    exit: .failed
                )
            }
            try show(configuration, identity: keys.identity.publicKey.hex)
        } catch {
            made.removeAll()
            throw Self.withoutDraft(error, draft: "\(config).new")
        }
    }

    /// The error without the place in a file that is gone by the time it is read.
    private static func withoutDraft(_ error: any Error, draft: String) -> any Error {
        guard let error = error as? ConfigurationError else { return error }
        return ConfigurationError(
            error.problems.map { problem in
                guard problem.what.hasPrefix(draft), let end = problem.what.firstRange(of: ": ")
                else { return problem }
                var problem = problem
                problem.what = String(problem.what[end.upperBound...])
                return problem
            }
        )
    }

    /// The keys in the state folder, made where there are none.
    private func makeKeys(noting made: inout MadeFiles) async throws -> RelayKeys {
        let files = ["identity.key", "circuit.key"].map { "\(state)/\($0)" }
        if files.allSatisfy({ FileManager.default.fileExists(atPath: $0) }) {
            return try RelayKeys(folder: state)
        }
        for file in files where !FileManager.default.fileExists(atPath: file) { made.note(file) }
        if !FileManager.default.fileExists(atPath: state) { made.note(state) }
        let folder = state
        try await Starting.attempt("key generation") { try RelayKeys.create(folder: folder) }
        return try RelayKeys(folder: state)
    }

    private func show(_ configuration: RelayConfiguration, identity: String) throws {
        let unit = exit ? "umbel-exit.service" : "umbel-relay.service"
        let ports = configuration.listenAddresses.map { "UDP and TCP \($0)" }
        if format.json {
            return try Output.printJSON(
                Report(identity: identity, config: config, unit: unit, ports: ports)
            )
        }
        Output.print("relay \(configuration.nickname), identity and account \(identity)")
        Output.print("keys in \(state): keep a copy of identity.key, it is what your relay is")
        let forwarded = announce.map { "UDP and TCP \($0)" }
        var steps = [("let in", ports.joined(separator: ", "))]
        if !announce.isEmpty {
            steps.append(("forward", "\(forwarded.joined(separator: ", ")) to it, in your router"))
        }
        steps += [
            ("start", "systemctl enable --now \(unit)"), ("see it works", "umbel relay check"),
            ("change it", "\(config), then systemctl reload \(unit)"),
        ]
        let lines = ["next:"] + StatusText.lines(steps, Terminal(STDERR_FILENO))
        Output.note(lines.joined(separator: "\n"))
        for address in ListenCheck.unreachable(configuration.announcedAddresses) {
            let warning =
                "\(address.ip) is no address of the internet's: others cannot reach the relay by it. "
                + "Behind a router, set `announce` in [listen] to the router's address and port"
            let terminal = Terminal(STDERR_FILENO)
            Output.note(Text.wrapped(warning, after: "warning: ", width: terminal.width))
        }
    }

    // MARK: Text

    private var text: String {
        var lines = [
            "# Made by `umbel relay init`. Every key, and what it comes to:",
            "# umbel relay --print-config --config \(config)",
            "[node]", "nickname = \(Self.quoted(name ?? ""))", "state = \(Self.quoted(state))",
            "contact = \(Self.quoted(contact ?? ""))",
        ]
        if let familyKey { lines.append("family_key = \(Self.quoted(familyKey))") }
        lines += ["", "[listen]", "addresses = \(Self.list(address))"]
        if !announce.isEmpty { lines.append("announce = \(Self.list(announce))") }
        lines += ["", "[directory]", "network = \(Self.quoted(network))"]
        if exit {
            lines += ["", "[exit]", "enabled = true", "preset = \(Self.quoted(preset.rawValue))"]
        }
        lines += ["", "[control]", "socket = \(Self.quoted(socket))", "", "[limits]"]
        if let rate { lines.append("rate = \(Self.quoted(rate))") }
        if let quota { lines.append("quota = \(Self.quoted(quota))") }
        if !metrics.isEmpty { lines += ["", "[metrics]", "listen = \(Self.quoted(metrics))"] }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func list(_ texts: [String]) -> String {
        "[\(texts.map(quoted).joined(separator: ", "))]"
    }

    /// The text as a basic string of TOML.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// Files made so far, to be taken away where the rest fails.
private struct MadeFiles {
    private var paths: [String] = []

    mutating func note(_ path: String) {
        paths.append(path)
    }

    /// Removes them; folders only where nothing is left in them.
    func removeAll() {
        for path in paths { if unlink(path) != 0 { rmdir(path) } }
    }
}
