import Base
import Foundation
import HostNetwork

/// Everything the lab knows of the program `umbel`: its commands, its files, its sockets.
struct DaemonLauncher {
    var topology: Topology
    var folder: LabFolder
    /// The `umbel` program.
    var umbel: String

    // MARK: - Command lines

    private func authorityKey(_ output: String) -> [String] {
        [umbel, "authority", "keygen", "--output", output, "--json"]
    }

    private func relayKey(_ state: String) -> [String] {
        [umbel, "keygen", "--role", "relay", "--state", state]
    }

    private func authority(_ configuration: String) -> [String] {
        [umbel, "authority", "run", "--config", configuration]
    }

    private func relay(_ configuration: String) -> [String] {
        [umbel, "relay", "--config", configuration]
    }

    private func daemon(_ configuration: String) -> [String] {
        [umbel, "daemon", "--config", configuration]
    }

    /// Connects the client whose daemon listens on `socket`, and returns once it is.
    static func connect(umbel: String, socket: String) -> [String] {
        [umbel, "up", "--wait", "--socket", socket]
    }

    /// What the client's daemon says about itself, as JSON.
    static func status(umbel: String, socket: String) -> [String] {
        [umbel, "status", "--json", "--socket", socket]
    }

    /// What `authority keygen --json` prints, as far as the lab needs it.
    private struct PublicKey: Decodable {
        var publicKey: String

        enum CodingKeys: String, CodingKey {
            case publicKey = "public_key"
        }
    }

    // MARK: - Files

    private var directory: String { "\(folder.path)/directory" }
    private var network: String { "\(directory)/network.toml" }
    private var parameters: String { "\(directory)/parameters.toml" }
    private var countries: [String] { ["\(directory)/geoip", "\(directory)/geoip6"] }

    /// The TCP port authorities answer on.
    private static let directoryPort: UInt16 = 7000

    static func socket(in folder: String) -> String { "\(folder)/control.sock" }

    private func networkText(keys: [String]) -> String {
        let identity = (0..<32).map { _ in UInt8.random(in: 0...255) }
            .map { String(format: "%02x", $0) }.joined()
        let authorities = topology.hosts.filter { $0.role == .authority }
        return TOMLText.section(
            "# The trust root of lab \(folder.lab).",
            [("network_id", TOMLText.quoted(identity)), ("threshold", "\(topology.threshold)")]
        )
            + zip(authorities, keys).enumerated().map { index, pair in
                TOMLText.section(
                    "\n[[authority]]",
                    [
                        ("index", "\(index)"), ("name", TOMLText.quoted(pair.0.name)),
                        ("key", TOMLText.quoted(pair.1)),
                        ("addresses", TOMLText.list(Self.directoryAddresses(of: pair.0))),
                    ]
                )
            }.joined()
    }

    private var parametersText: String {
        topology.parameters.map { section in
            TOMLText.section("[\(section.name)]", section.values.map { ($0.key, $0.value) })
        }.joined(separator: "\n")
    }

    private var directorySection: String {
        TOMLText.section(
            "\n[directory]",
            [("network", TOMLText.quoted(network))]
        )
    }

    private func controlSection(_ folder: String) -> String {
        TOMLText.section("\n[control]", [("socket", TOMLText.quoted(Self.socket(in: folder)))])
    }

    private static func directoryAddresses(of host: Topology.Host) -> [String] {
        host.addresses.map { SocketAddress(ip: $0, port: directoryPort).description }
    }

    private func authorityText(_ host: Topology.Host, folder: String) -> String {
        TOMLText.section(
            "[node]",
            [
                ("state", TOMLText.quoted("\(folder)/state")),
                ("key", TOMLText.quoted("\(folder)/authority.key")),
            ]
        )
            + TOMLText.section(
                "\n[listen]",
                [("addresses", TOMLText.list(Self.directoryAddresses(of: host)))]
            )
            + TOMLText.section(
                "\n[directory]",
                [
                    ("network", TOMLText.quoted(network)),
                    ("parameters", TOMLText.quoted(parameters)),
                ]
            )
            + TOMLText.section("\n[places]", [("countries", TOMLText.list(countries))])
            + controlSection(folder)
    }

    /// Which addresses are in which country, as `tor-geoipdb` writes it; of one family.
    private func countryText(isV4: Bool) -> String {
        var lines: [String] = []
        for host in topology.hosts {
            guard let country = host.country else { continue }
            for address in host.addresses where address.isV4 == isV4 {
                let text = address.v4.map { "\($0)" } ?? address.description
                lines.append("\(text),\(text),\(country)\n")
            }
        }
        return lines.joined()
    }

    private func relayText(_ host: Topology.Host, folder: String) -> String {
        var node = [
            ("nickname", TOMLText.quoted(host.name)),
            ("state", TOMLText.quoted("\(folder)/state")),
        ]
        if let country = host.country { node.append(("country", TOMLText.quoted(country))) }
        let addresses = host.addresses.map {
            SocketAddress(ip: $0, port: host.port).description
        }
        var text =
            TOMLText.section("[node]", node)
            + TOMLText.section("\n[listen]", [("addresses", TOMLText.list(addresses))])
            + directorySection
        if let exit = host.exit {
            var values = [
                ("enabled", "true"),
                ("allow", TOMLText.list(exit.allowed.map(\.description))),
                ("ipv4_pool", TOMLText.quoted(exit.poolV4.description)),
                ("ipv6", exit.poolV6 == nil ? "false" : "true"),
            ]
            if let pool = exit.poolV6 { values.append(("ipv6_pool", TOMLText.quoted("\(pool)"))) }
            if let resolver = exit.resolver {
                values.append(("resolver", TOMLText.quoted("\(resolver)")))
            }
            text += TOMLText.section("\n[exit]", values)
        }
        text += TOMLText.section("\n[limits]", [("shards", "\(host.shards)")])
        return text + controlSection(folder)
    }

    private func clientText(folder: String) -> String {
        var client = [("state", TOMLText.quoted("\(folder)/state"))]
        if topology.mode != .fast {
            client.append(("mode", TOMLText.quoted(topology.mode.rawValue)))
        }
        return TOMLText.section("[client]", client) + directorySection
            + TOMLText.section(
                "\n[tunnel]",
                [("mtu", "1280"), ("name", TOMLText.quoted("umbel0"))]
            )
            + controlSection(folder)
    }

    // MARK: - Keys and configurations, before any daemon runs

    /// Makes keys and configurations of all nodes.
    ///
    /// - Throws: ``LabError`` naming the host and the command that failed.
    func prepare(_ hosts: [Manifest.Host], progress: Progress) async throws(LabError) {
        try makeFolders([directory])
        let authorities = topology.hosts.filter { $0.role == .authority }
        var keys: [String] = []
        for host in authorities {
            let path = folder.host(host.name)
            let text = try await run(host.name, authorityKey("\(path)/authority.key"))
            do {
                let key = try JSONDecoder().decode(PublicKey.self, from: Data(text.utf8))
                keys.append(key.publicKey)
            } catch {
                throw LabError(
                    "cannot make the key of authority \(host.name)",
                    why: "`umbel authority keygen --json` printed `\(text.prefix(200))`: \(error)"
                )
            }
        }
        try write(networkText(keys: keys), to: network)
        try write(parametersText, to: parameters)
        for (path, isV4) in zip(countries, [true, false]) {
            try write(countryText(isV4: isV4), to: path)
        }
        for host in topology.hosts {
            let path = folder.host(host.name)
            switch host.role {
            case .authority:
                try write(authorityText(host, folder: path), to: "\(path)/authority.toml")
            case .relay:
                try write(relayText(host, folder: path), to: "\(path)/relay.toml")
                _ = try await run(host.name, relayKey("\(path)/state"))
            case .client:
                try write(clientText(folder: path), to: "\(path)/client.toml")
            case .internet, .plain: break
            }
        }
        let relays = topology.hosts.filter { $0.role == .relay }.count
        progress.say("keys of \(keys.count) authorities and \(relays) relays")
    }

    /// The programs of the lab's own that `host` runs.
    ///
    /// - Throws: ``LabError`` where `ip` is missing.
    func programs(of host: Topology.Host) throws(LabError) -> [Manifest.Program] {
        let path = folder.host(host.name)
        let (title, argv): (String, [String])
        switch host.role {
        case .authority: (title, argv) = ("authority", authority("\(path)/authority.toml"))
        case .relay: (title, argv) = ("relay", relay("\(path)/relay.toml"))
        case .client: (title, argv) = ("daemon", daemon("\(path)/client.toml"))
        case .internet, .plain: return []
        }
        do {
            let runner = CommandRunner(namespace: "\(folder.lab)-\(host.name)")
            return [
                Manifest.Program(
                    title: title,
                    command: try runner.command(for: argv),
                    log: "\(path)/\(title).log",
                    socket: Self.socket(in: path),
                    port: nil,
                    process: nil
                )
            ]
        } catch {
            throw LabError("host \(host.name) cannot run its \(title)", error)
        }
    }

    // MARK: - The tunnel

    /// Leads the traffic of `host` into its tunnel, waiting until `deadline`.
    ///
    /// - Throws: ``LabError`` with what `umbel up` and the daemon last said.
    static func connect(
        _ host: Manifest.Host,
        umbel: String,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        guard let program = host.programs.first, let socket = program.socket else { return }
        let left = max(.seconds(1), deadline - ContinuousClock.now) / .milliseconds(1)
        do {
            try await CommandRunner(namespace: host.namespace).run(
                connect(umbel: umbel, socket: socket),
                timeout: .milliseconds(UInt64(left))
            )
        } catch {
            throw LabError(
                "client \(host.name) does not connect",
                why: "\(error.why)\n\(ProgramStarter.lastLines(of: program))",
                hint: "umbel-lab status"
            )
        }
    }

    // MARK: - Where the program is

    /// The `umbel` program: $UMBEL, or the file beside this one.
    ///
    /// - Throws: ``LabError`` where neither is there.
    static func locate() throws(LabError) -> String {
        let environment = ProcessInfo.processInfo.environment["UMBEL"]
        let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let beside = own.map {
            URL(fileURLWithPath: $0).deletingLastPathComponent().path + "/umbel"
        }
        guard let path = environment ?? beside else {
            throw LabError("cannot find the program `umbel`", why: "/proc is not mounted")
        }
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw LabError(
                "the program `umbel` is missing",
                why: "\(path) is not there or cannot be run",
                hint: environment == nil ? "swift build --product umbel" : "set UMBEL to its path"
            )
        }
        return path
    }

    private func run(_ host: String, _ argv: [String]) async throws(LabError) -> String {
        do {
            return try await CommandRunner().run(argv)
        } catch {
            throw LabError("host \(host) could not be prepared", error)
        }
    }

    private func write(_ text: String, to path: String) throws(LabError) {
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        } catch {
            throw LabError("cannot write \(path)", why: "\(error)")
        }
    }

    private func makeFolders(_ paths: [String]) throws(LabError) {
        for path in paths {
            do {
                try FileManager.default.createDirectory(
                    atPath: path,
                    withIntermediateDirectories: true
                )
            } catch {
                throw LabError("cannot make \(path)", why: "\(error)")
            }
        }
    }
}
