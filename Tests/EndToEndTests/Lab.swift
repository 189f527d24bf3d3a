import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

/// A lab that is up: its hosts, what runs on them and what they say of themselves.
struct Lab: Sendable {
    /// The lab of the suite that runs.
    @TaskLocal static var current: Lab?

    let name: String
    /// A folder for the tests' own files, removed with the lab.
    let scratch: String

    private static let folder: String = {
        let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: tests ?? "/").deletingLastPathComponent().path
    }()

    /// The programs under test, built beside the tests.
    static let umbel = "\(folder)/umbel"
    static let umbelLab = "\(folder)/umbel-lab"

    /// The running suite's lab.
    static func shared() throws -> Lab {
        try #require(current, "the suite has no lab")
    }

    /// Builds the lab of `topology`, runs `body`, and takes the lab down.
    static func with(_ topology: String, _ body: (Lab) async throws -> Void) async throws {
        let scratch = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        // Programs without rights read files here.
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: scratch)
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let lab = Lab(name: "ee\(getpid())x\(UInt16.random(in: 0...UInt16.max))", scratch: scratch)
        let file = "\(scratch)/lab.yaml"
        try Data(topology.utf8).write(to: URL(fileURLWithPath: file))
        do {
            let outcome = try await lab.lab("up", file)
            try #require(outcome.status == 0, "\(outcome.message)")
            try await body(lab)
        } catch {
            _ = try? await lab.lab("down")
            throw error
        }
        let down = try await lab.lab("down")
        #expect(down.status == 0, "\(down.message)")
    }

    // MARK: Commands

    /// Runs `umbel-lab COMMAND --name NAME …`.
    @discardableResult
    func lab(_ command: String, _ arguments: String...) async throws -> CommandRunner.Outcome {
        try await CommandRunner().outcome(
            of: [Self.umbelLab, command, "--name", name] + arguments,
            timeout: .seconds(180)
        )
    }

    /// The namespace of `host`, the router's being `core`.
    func namespace(_ host: String) -> String { "\(name)-\(host)" }

    /// Runs a program on `host` and returns how it ended.
    func outcome(
        _ host: String,
        _ command: [String],
        input: String = "",
        seconds: UInt64 = 30
    ) async throws -> CommandRunner.Outcome {
        try await CommandRunner(namespace: namespace(host)).outcome(
            of: command,
            input: input,
            timeout: .seconds(seconds)
        )
    }

    /// What runs a command as a user without any rights.
    static let asNobody = [
        "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
    ]

    /// What runs a command as a user without any rights, who may open /dev/net/tun only where
    /// `tunIsOpen`, however this machine keeps it.
    static func asNobody(tunIsOpen: Bool) -> [String] {
        let script = """
            mount -t tmpfs none /dev/net
            mknod -m \(tunIsOpen ? "666" : "600") /dev/net/tun c 10 200
            exec "$@"
            """
        return ["unshare", "-m", "sh", "-e", "-c", script, "-"] + asNobody
    }

    /// Runs a program, its words separated by spaces, on `host`; it must succeed.
    @discardableResult
    func run(_ host: String, _ command: String) async throws -> String {
        try await CommandRunner(namespace: namespace(host)).run(
            command.split(separator: " ").map(String.init),
            timeout: .seconds(60)
        )
    }

    /// Runs `umbel` with `arguments`, asking the node on `host`.
    func umbel(
        _ arguments: String...,
        host: String = "client",
        seconds: UInt64 = 40
    ) async throws -> CommandRunner.Outcome {
        try await outcome(
            host,
            [Self.umbel] + arguments + ["--socket", socket(host)],
            seconds: seconds
        )
    }

    /// Runs `body` while the client downloads 20 Mbit/s by a circuit, a minute at most.
    func whileDownloading<Result>(_ body: () async throws -> Result) async throws -> Result {
        let download = try BackgroundProgram(
            self,
            host: "client",
            ["iperf3", "-c", "www.umbel.test", "-R", "-t", "60", "-b", "20M"]
        )
        try await eventually("the download runs: \(download.output)") {
            try await circuits().contains { $0.bytesBackward > 4_000_000 }
        }
        let result = try await body()
        download.send(SIGTERM)
        _ = try await download.status()
        return result
    }

    /// Ends the programs of `host` by `signal`.
    func kill(_ host: String, _ signal: String = "KILL") async throws {
        let outcome = try await lab("kill", host, "--signal", signal)
        try #require(outcome.status == 0, "\(outcome.message)")
    }

    /// Ends the programs of `host` by `signal`, runs `body`, and brings them back.
    func without(_ host: String, _ signal: String, _ body: () async throws -> Void) async throws {
        try await kill(host, signal)
        do {
            try await body()
        } catch {
            try? await bringBack(host, signal)
            throw error
        }
        try await bringBack(host, signal)
    }

    private func bringBack(_ host: String, _ signal: String) async throws {
        if signal == "STOP" { try await kill(host, "CONT") } else { try await start(host) }
    }

    /// Drops datagrams between the client and all relays while `body` runs.
    func cutOff(_ body: () async throws -> Void) async throws {
        let rules = """
            table inet lab_cut {
            chain pass {
            type filter hook forward priority filter;
            iifname "client" udp dport 4433 drop
            oifname "client" udp sport 4433 drop
            }
            }

            """
        let cut = try await outcome("core", ["nft", "-f", "-"], input: rules)
        try #require(cut.status == 0, "\(cut.message)")
        do {
            try await body()
        } catch {
            _ = try? await run("core", "nft delete table inet lab_cut")
            throw error
        }
        try await run("core", "nft delete table inet lab_cut")
    }

    /// Starts what does not run on `host`; a client is connected then.
    func start(_ host: String) async throws {
        let outcome = try await lab("start", host)
        try #require(outcome.status == 0, "\(outcome.message)")
    }

    /// Connects the client, unless it is.
    func connect() async throws {
        let outcome = try await umbel("up", "--wait")
        try #require(outcome.status == 0, "\(outcome.message)\n\(log("client"))")
    }

    /// Disconnects the client and lets its traffic out directly.
    func disconnect() async throws {
        let outcome = try await umbel("down")
        try #require(outcome.status == 0, "\(outcome.message)")
    }

    // MARK: Files and processes

    /// The folder of `host`: configuration, state, socket, logs.
    func folder(_ host: String) -> String { "/run/umbel-lab/\(name)/hosts/\(host)" }

    /// The control socket of the node on `host`.
    func socket(_ host: String) -> String { "\(folder(host))/control.sock" }

    /// The end of what the node on `host` logged.
    func log(_ host: String) -> String {
        let title = host == "client" ? "daemon" : "relay"
        let data = FileManager.default.contents(atPath: "\(folder(host))/\(title).log") ?? Data()
        return String(decoding: data.suffix(2_000), as: UTF8.self)
    }

    /// The number of the node's process on `host`, as it was last started.
    func pid(_ host: String) throws -> Int32 {
        let manifest = try LabFolder(lab: name).existing()
        let program = manifest.hosts[try manifest.index(of: host)].programs.first
        return try #require(program?.process).pid
    }

    /// The names of all hosts of `role`.
    func hosts(_ role: Topology.Role) throws -> [String] {
        try LabFolder(lab: name).existing().hosts.filter { $0.role == role }.map(\.name)
    }

    /// Expects an echo from `address` to come back to the client; what gets lost is sent again.
    func expectAnswer(from address: String) async throws {
        try await eventually("\(address) answers") {
            try await outcome("client", ["ping", "-n", "-c1", "-W2", address]).status == 0
        }
    }

    // MARK: Reports

    /// What the node on `host` answers to `question`.
    ///
    /// A node that has no time to answer within two seconds is asked again: it is told from one that
    /// is not there by the tests that are about that.
    private func report<Report: Decodable>(_ question: String, _ host: String) async throws
        -> Report
    {
        var outcome = try await umbel(question, "--json", host: host)
        if outcome.status == 69 {
            try await eventually("the node on \(host) answers: \(outcome.message)") {
                outcome = try await umbel(question, "--json", host: host)
                return outcome.status != 69
            }
        }
        return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    }

    /// What the client's daemon says of itself.
    func status() async throws -> StatusReport {
        try await report("status", "client")
    }

    /// Where the client's tunnel stands.
    func state() async throws -> TunnelState {
        try await status().state
    }

    /// The client's circuits.
    func circuits() async throws -> [CircuitReport] {
        let report: CircuitsReport = try await report("circuits", "client")
        return report.circuits
    }

    /// The names of the relays new flows of the machine take, the guard first.
    ///
    /// Waits for a circuit: between the death of one and the next there is none for a moment.
    func path() async throws -> [String] {
        var names: [String] = []
        try await eventually("a circuit is in use") {
            let active = try await circuits()
                .first { $0.state == .active && $0.isolation == "machine" }
            names = active?.hops.map(\.nickname) ?? []
            return active != nil
        }
        return names
    }

    /// What the relay on `host` says of itself.
    func relay(_ host: String) async throws -> RelayStatusReport {
        try await report("status", host)
    }
}

/// Gives a suite a lab for all its tests.
struct LabTrait: SuiteTrait, TestScoping {
    let topology: String

    func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await Lab.with(topology) { lab in
            try await Lab.$current.withValue(lab) { try await function() }
        }
    }
}

extension Trait where Self == LabTrait {
    /// A lab of `topology` for the suite.
    static func lab(_ topology: String = Lab.topology) -> Self { LabTrait(topology: topology) }
}

extension Lab {
    /// Five relays, two exits, a client, a server, and a stranger to all of it.
    static let topology = """
        parameters:
          directory: {interval: 1h, valid_intervals: 48}
          path:
            ipv4_subnet: 24
            ipv6_subnet: 48
            distinct_countries: false
            guard_sample: 5
            guard_primary: 3
            middle_layer: 5
        subnets:
          law: [192.0.2.0/24]
          home: [198.51.100.0/24, 2001:db8:c::/48]
          net: [203.0.113.0/24, 2001:db8:f::/48]
          away: [198.18.99.0/24, 2001:db8:d::/48]
          n1: [198.18.1.0/24, 2001:db8:101::/48]
          n2: [198.18.2.0/24, 2001:db8:102::/48]
          n3: [198.18.3.0/24, 2001:db8:103::/48]
          n4: [198.18.4.0/24, 2001:db8:104::/48]
          n5: [198.18.5.0/24, 2001:db8:105::/48]
          n7: [198.19.7.0/24, 2001:db8:107::/48]
          n8: [198.19.8.0/24, 2001:db8:108::/48]
        hosts:
          - {name: a1, role: authority, addresses: [192.0.2.11]}
          - name: inet
            role: internet
            addresses: [203.0.113.10, "2001:db8:f::10"]
            services: {names: [www.umbel.test], iperf3_ports: [5201], echo_port: 7}
          - {name: stranger, role: plain, addresses: [198.18.99.9, "2001:db8:d::9"]}
          - {name: r1, role: relay, country: CH, addresses: [198.18.1.10, "2001:db8:101::10"]}
          - {name: r2, role: relay, country: FR, addresses: [198.18.2.10, "2001:db8:102::10"]}
          - {name: r3, role: relay, country: AT, addresses: [198.18.3.10, "2001:db8:103::10"]}
          - {name: r4, role: relay, country: CZ, addresses: [198.18.4.10, "2001:db8:104::10"]}
          - {name: r5, role: relay, country: IT, addresses: [198.18.5.10, "2001:db8:105::10"]}
          - name: e1
            role: relay
            country: DE
            addresses: [198.19.7.10, "2001:db8:107::10"]
            exit:
              allow: [203.0.113.0/24, "2001:db8:f::/48"]
              ipv4_pool: 100.64.0.0/16
              ipv6_pool: "fd75:6d62:656c:e::/64"
              resolver: 203.0.113.10
          - name: e2
            role: relay
            country: NL
            addresses: [198.19.8.10, "2001:db8:108::10"]
            exit:  # With a resolver of its own.
              allow: [203.0.113.0/24, "2001:db8:f::/48"]
              ipv4_pool: 100.64.0.0/16
              ipv6_pool: "fd75:6d62:656c:e::/64"
              resolver: dnsmasq
              upstreams: [203.0.113.10]
          - {name: client, role: client, addresses: [198.51.100.10, "2001:db8:c::10"]}

        """
}
