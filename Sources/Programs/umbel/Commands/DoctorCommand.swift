import ArgumentParser
import ControlAPI
import FoundationEssentials
import Glibc
import HostNetwork
import NodeConfiguration

/// `umbel doctor`: checks in the order things depend on each other.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Find out what keeps you from being connected, and how to mend it.",
        discussion: """
            Checks one thing after the other, from whether there is a route to whether the exit \
            resolves names; what depends on something that failed is left out. The exit status is 1 \
            where a check failed, 2 where nothing failed but nobody is connected.
            """
    )

    @Option(
        help: ArgumentHelp("Configuration file of the daemon.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var config: String?
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        var doctor = Doctor(client: socket.client, configuration: config)
        await doctor.check { check in
            if !format.json { Output.print(Self.line(check, terminal: .output)) }
        }
        if format.json {
            try Output.printJSON(DoctorReport(checks: doctor.checks))
        } else {
            Output.print(Self.conclusion(doctor.checks, isConnected: doctor.isConnected))
        }
        if doctor.checks.contains(where: { $0.result == .failed }) {
            throw ExitCode(ExitStatus.failed.rawValue)
        }
        if !doctor.isConnected { throw ExitCode(ExitStatus.notConnected.rawValue) }
    }

    /// A check in one line, and its fix under it.
    static func line(_ check: DoctorReport.Check, terminal: Terminal) -> String {
        let mark =
            switch check.result {
            case .passed: terminal.colored("ok      ", .green)
            case .failed: terminal.colored("FAILED  ", .red)
            case .skipped: "left out"
            }
        let text = Text.wrapped(
            "\(check.title): \(check.detail)",
            after: "\(mark)  ",
            width: terminal.width
        )
        guard let fix = check.fix, check.result == .failed else { return text }
        return text + "\n" + Text.wrapped(fix, after: "          fix: ", width: terminal.width)
    }

    /// The last line.
    static func conclusion(_ checks: [DoctorReport.Check], isConnected: Bool) -> String {
        guard let failed = checks.first(where: { $0.result == .failed }) else {
            return isConnected ? "all is well" : "nothing is wrong, but nobody is connected"
        }
        return "it fails at: \(failed.title)"
    }
}

/// What `umbel doctor` found, as `--json` prints it.
struct DoctorReport: Codable, Hashable, Sendable {
    /// The layout's version, `reportSchema`.
    var schema = reportSchema
    /// The name of the first check that failed; `nil` where none did.
    var failed: String?
    /// The checks, in their order.
    var checks: [Check]

    /// One check.
    struct Check: Codable, Hashable, Sendable {
        /// How it ended.
        enum Result: String, Codable, Sendable {
            case passed
            case failed
            case skipped
        }

        /// Its name, for scripts.
        var name: String
        /// What it looks at.
        var title: String
        /// How it ended.
        var result: Result
        /// What was seen.
        var detail: String
        /// What to do; `nil` where nothing is to be done.
        var fix: String?
    }

    init(checks: [Check]) {
        self.checks = checks
        failed = checks.first { $0.result == .failed }?.name
    }
}

/// The checks of `umbel doctor`.
struct Doctor {
    /// A step, in the order they are taken.
    enum Step: String, CaseIterable {
        case programs, device, route, configuration, daemon, clock, directory, guards, lock
        case circuit, hops, resolver, names

        var title: String {
            switch self {
            case .programs: "programs this needs"
            case .device: "tunnel device"
            case .route: "a route out of this machine"
            case .configuration: "configuration"
            case .daemon: "daemon"
            case .clock: "clock"
            case .directory: "list of relays"
            case .guards: "guards answer by UDP"
            case .lock: "what blocks traffic"
            case .circuit: "circuit"
            case .hops: "every hop answers"
            case .resolver: "this machine asks the tunnel for names"
            case .names: "the exit resolves names"
            }
        }
    }

    /// What was seen: all is well, or what is wrong and what to do.
    private enum Finding {
        case passed(String)
        case failed(String, fix: String)
        case skipped(String)
    }

    private let client: ControlClient
    private let configuration: String?
    private(set) var checks: [DoctorReport.Check] = []
    private var status: StatusReport?
    /// Whether the daemon serves single programs of this user alone.
    private var isRootless = false

    init(client: ControlClient, configuration: String?) {
        self.client = client
        self.configuration = configuration
    }

    /// Whether the daemon is connected, as far as it was asked.
    var isConnected: Bool { status?.state == .connected }

    /// Takes all steps, and hands each to `shown` once it is done.
    ///
    /// What comes after a step that failed is left out, unless it needs nothing of it.
    mutating func check(_ shown: (DoctorReport.Check) -> Void) async {
        // What is needed depends on who runs the daemon; whether one does is looked at in its turn.
        isRootless = (try? await client.node())?.rootless == true
        var failed: Set<Step> = []
        for step in Step.allCases {
            let finding: Finding
            if let missing = needs(step).first(where: { failed.contains($0) }) {
                failed.insert(step)
                finding = .skipped("needs: \(missing.title)")
            } else {
                finding = await take(step)
            }
            var check = DoctorReport.Check(
                name: step.rawValue,
                title: step.title,
                result: .passed,
                detail: "",
                fix: nil
            )
            switch finding {
            case .passed(let detail): check.detail = detail
            case .skipped(let detail):
                check.result = .skipped
                check.detail = detail
                failed.insert(step)
            case .failed(let detail, let fix):
                check.result = .failed
                check.detail = detail
                check.fix = fix
                failed.insert(step)
            }
            checks.append(check)
            shown(check)
        }
    }

    /// The steps without which this one cannot be taken.
    private func needs(_ step: Step) -> [Step] {
        switch step {
        case .programs, .device, .configuration, .route: []
        case .daemon: []
        case .clock, .directory, .lock: [.daemon]
        case .guards: [.daemon, .route, .directory]
        case .circuit: [.daemon, .guards]
        case .hops, .resolver: [.circuit]
        case .names: [.hops]
        }
    }

    private mutating func take(_ step: Step) async -> Finding {
        switch step {
        case .programs: programs()
        case .device: device()
        case .route: await route()
        case .configuration: settings()
        case .daemon: await daemon()
        case .clock: clock()
        case .directory: directory()
        case .guards: await guards()
        case .lock: lock()
        case .circuit: circuit()
        case .hops: await hops()
        case .resolver: resolver()
        case .names: await names()
        }
    }

    // MARK: This machine

    private func programs() -> Finding {
        guard !isRootless else { return .skipped("an ordinary user's daemon runs none") }
        for program in ["ip", "nft", "sysctl"] {
            do throws(HostNetworkError) {
                _ = try CommandRunner.locate(program)
            } catch {
                return .failed(error.what, fix: error.hint ?? "install it")
            }
        }
        return .passed("ip, nft and sysctl are there")
    }

    private func device() -> Finding {
        var details = stat()
        guard stat("/dev/net/tun", &details) == 0 else {
            return .failed("/dev/net/tun is not there", fix: "modprobe tun")
        }
        guard !isRootless || access("/dev/net/tun", R_OK | W_OK) == 0 else {
            return .failed(
                "/dev/net/tun is there, and this user may not open it",
                fix: "sudo chmod 666 /dev/net/tun"
            )
        }
        return .passed("/dev/net/tun is there")
    }

    private func route() async -> Finding {
        var found: [String] = []
        for (family, name) in [("-4", "IPv4"), ("-6", "IPv6")] {
            let argv = ["ip", family, "route", "show", "default", "table", "main"]
            let outcome = try? await CommandRunner().outcome(of: argv)
            if outcome?.output.isEmpty == false { found.append(name) }
        }
        guard !found.isEmpty else {
            return .failed(
                "there is no default route",
                fix: "connect this machine to a network: ip -brief address"
            )
        }
        return .passed("by \(found.joined(separator: " and "))")
    }

    private func settings() -> Finding {
        let places = ClientPlaces.asked
        let file = configuration ?? places.configuration
        guard configuration != nil || FileManager.default.fileExists(atPath: file) else {
            return .skipped("there is no \(file)")
        }
        do throws(ConfigurationError) {
            let read = try ClientConfiguration(file: file, places: places)
            guard let problem = read.fileProblems().first else {
                return .passed("\(file) is right")
            }
            return .failed("\(problem.what): \(problem.why)", fix: problem.hint)
        } catch {
            let problem = error.problems.first
            return .failed(
                problem.map { "\($0.what): \($0.why)" } ?? "\(file) is wrong",
                fix: problem?.hint ?? "umbel check-config \(file)"
            )
        }
    }

    // MARK: The daemon and its network

    private mutating func daemon() async -> Finding {
        do throws(Failure) {
            status = try await client.status()
            let node = try await client.node()
            return .passed("process \(node.pid), version \(node.version)")
        } catch {
            return .failed("\(error.what): \(error.why)", fix: error.hint)
        }
    }

    private func clock() -> Finding {
        let about = status.map { StatusText.health($0) } ?? []
        if let line = about.first(where: { $0.about.lowercased() == "clock" }) {
            return .failed(line.problem, fix: line.fix)
        }
        return .passed("nobody says that it is wrong")
    }

    private func directory() -> Finding {
        let lines = status.map { StatusText.health($0) } ?? []
        if let line = lines.first(where: { $0.about.lowercased() == "directory" }) {
            return .failed(line.problem, fix: line.fix)
        }
        guard let directory = status?.directory, directory.validUntil > 0 else {
            return .failed(
                status?.reason ?? "there is none yet",
                fix: "wait a minute; if it stays so, give the daemon one: umbel daemon --consensus"
            )
        }
        return .passed("\(directory.relays) relays, signed by \(directory.signers.count)")
    }

    private func guards() async -> Finding {
        do throws(Failure) {
            let report = try await client.checkNetwork()
            let answered = report.guards.filter { $0.roundTrip != nil }
            guard let best = answered.compactMap(\.roundTrip).min() else {
                return .failed(
                    "none of \(report.guards.count) addresses answers",
                    fix: "this network blocks UDP to them: try another one, or `umbel login`"
                )
            }
            return .passed(
                "\(answered.count) of \(report.guards.count) addresses, the nearest in"
                    + " \(Text.milliseconds(best)) ms"
            )
        } catch {
            return .failed("\(error.what): \(error.why)", fix: error.hint)
        }
    }

    private func lock() -> Finding {
        let lines = status?.health?.filter { $0.about == "lock" } ?? []
        if let line = lines.first { return .failed(line.problem, fix: line.fix) }
        switch status?.state {
        case .disconnected: return .passed("nothing: this machine's traffic goes out directly")
        case .blocked where status?.tunnels.isEmpty == true: return .passed("the rules stand")
        case _ where isMachineUp: return .passed("the rules stand")
        default: return .passed("nothing: only programs of `umbel run` are kept from going out")
        }
    }

    private func circuit() -> Finding {
        guard let status else { return .skipped("the daemon was not asked") }
        switch status.state {
        case .connected:
            return .passed(status.exit.map { "through \($0.nickname) (\($0.country))" } ?? "yes")
        case .disconnected:
            return .skipped("nobody asked for one: umbel up")
        case .connecting, .disconnecting, .blocked:
            return .failed(
                status.reason ?? status.state.rawValue,
                fix: status.tunnels.isEmpty ? "umbel up" : "umbel reconnect --wait; umbel logs"
            )
        }
    }

    private func hops() async -> Finding {
        do throws(Failure) {
            let report = try await client.ping(PingRequest(count: 1))
            let silent = report.hops.filter { $0.received == 0 }
            guard silent.isEmpty else {
                let names = silent.map { "\($0.nickname) (hop \($0.position))" }
                return .failed(
                    "\(names.joined(separator: ", ")) does not answer",
                    fix: "umbel reconnect --wait"
                )
            }
            let trips = report.hops.map { Text.milliseconds($0.minimum) }
            return .passed("in \(trips.joined(separator: ", ")) ms")
        } catch {
            return .failed("\(error.what): \(error.why)", fix: error.hint)
        }
    }

    // MARK: Names

    private var isMachineUp: Bool { status?.tunnels.contains { $0.pid == nil } == true }

    private func resolver() -> Finding {
        guard isMachineUp else { return .skipped("only programs of `umbel run` are connected") }
        guard let text = try? String(contentsOfFile: "/etc/resolv.conf", encoding: .utf8) else {
            return .failed("/etc/resolv.conf cannot be read", fix: "umbel down, then umbel up")
        }
        let servers = text.split(separator: "\n").compactMap { line -> String? in
            let words = line.split(whereSeparator: \.isWhitespace)
            return words.count > 1 && words[0] == "nameserver" ? String(words[1]) : nil
        }
        // A resolver of this machine is told of the tunnel by its own way.
        let local = ["\(TunnelAddresses.resolverV4)", "\(TunnelAddresses.resolverV6)"]
        guard servers.allSatisfy({ local.contains($0) || $0.hasPrefix("127.") }) else {
            return .failed(
                "/etc/resolv.conf asks \(servers.joined(separator: ", ")), which is blocked",
                fix: "umbel down, then umbel up; something rewrites that file"
            )
        }
        return .passed(servers.joined(separator: ", "))
    }

    private func names() async -> Finding {
        guard isMachineUp else { return .skipped("only programs of `umbel run` are connected") }
        for _ in 0..<3 {
            guard let code = NameQuery.ask(TunnelAddresses.resolverV4) else { continue }
            return code == 2
                ? .failed("its resolver fails", fix: "umbel reconnect --wait, for another exit")
                : .passed("its resolver answers")
        }
        return .failed("its resolver does not answer", fix: "umbel reconnect --wait")
    }
}
