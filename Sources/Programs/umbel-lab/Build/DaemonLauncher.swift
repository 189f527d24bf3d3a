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
        [umbel, "keygen", "--role", "relay", "--state", state, "--json"]
    }

    private func account(_ state: String) -> [String] {
        [umbel, "account", "new", "--state", state, "--json"]
    }

    private func mintKey(_ output: String) -> [String] {
        [umbel, "mint", "keygen", "--output", output, "--json"]
    }

    private func adminKey(_ output: String) -> [String] {
        [umbel, "grant", "keygen", "--output", output, "--json"]
    }

    private func mint(_ configuration: String) -> [String] {
        [umbel, "mint", "run", "--config", configuration]
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

    /// What the commands that make keys print with `--json`, as far as the lab needs it.
    private struct MadeKey: Decodable {
        var key: String

        private enum CodingKeys: String, CodingKey {
            case publicKey = "public_key"
            case identity, account
        }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            let found = try [CodingKeys.publicKey, .identity, .account].compactMap {
                try values.decodeIfPresent(String.self, forKey: $0)
            }
            guard let key = found.first else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: decoder.codingPath, debugDescription: "there is no key")
                )
            }
            self.key = key
        }
    }

    /// Runs `command`, which makes a key; gives its public half.
    private func makeKey(_ host: String, _ command: [String]) async throws(LabError) -> String {
        let text = try await run(host, command)
        do {
            return try JSONDecoder().decode(MadeKey.self, from: Data(text.utf8)).key
        } catch {
            throw LabError(
                "cannot make a key of \(host)",
                why: "`\(command.dropFirst().joined(separator: " "))` printed"
                    + " `\(text.prefix(200))`: \(error)"
            )
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

    /// The TCP port mints answer on.
    private static let mintPort: UInt16 = 7001
    /// Admins of the lab, and how many of them give money.
    private static let adminCount = 3
    private static let grantThreshold = 2
    /// Ticks everybody has when the lab is up: some 80 GB over three hops.
    static let faucetTicks = 1_000_000

    private func adminKeyFile(_ index: Int) -> String { "\(directory)/admin\(index).key" }

    static func mintSocket(in folder: String) -> String { "\(folder)/mint.sock" }

    private static func mintAddresses(of host: Topology.Host) -> [String] {
        host.addresses.map { SocketAddress(ip: $0, port: mintPort).description }
    }

    private func networkText(keys: [String], mints: [String], admins: [String]) -> String {
        let identity = (0..<32).map { _ in UInt8.random(in: 0...255) }
            .map { String(format: "%02x", $0) }.joined()
        let authorities = topology.hosts.filter { $0.role == .authority }
        return TOMLText.section(
            "# The trust root of lab \(folder.lab).",
            [("network_id", TOMLText.quoted(identity)), ("threshold", "\(topology.threshold)")]
                + (admins.isEmpty ? [] : [("grant_threshold", "\(Self.grantThreshold)")])
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
            + bodies("mint", topology.hosts.filter(\.isMint).map(\.name), mints)
            + bodies("admin", admins.indices.map { "admin\($0)" }, admins)
    }

    private func bodies(_ title: String, _ names: [String], _ keys: [String]) -> String {
        zip(names, keys).enumerated().map { index, pair in
            TOMLText.section(
                "\n[[\(title)]]",
                [
                    ("index", "\(index)"), ("name", TOMLText.quoted(pair.0)),
                    ("key", TOMLText.quoted(pair.1)),
                ]
            )
        }.joined()
    }

    private var parametersText: String {
        var sections = topology.parameters
        if !sections.contains(where: { $0.name == "payment" }) {
            sections.append(Topology.ParameterSection(name: "payment", values: []))
        }
        for index in sections.indices where sections[index].name == "payment" {
            let required = Topology.Setting(
                key: "required",
                value: topology.payments == .on ? "true" : "false"
            )
            let mints = topology.hosts.filter(\.isMint).count
            let count = Topology.Setting(key: "mints", value: "\(max(1, mints))")
            sections[index].values += [required, count]
        }
        return sections.map { section in
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

    private func mintText(_ host: Topology.Host, folder: String) -> String {
        TOMLText.section(
            "[node]",
            [
                ("state", TOMLText.quoted("\(folder)/mint")),
                ("key", TOMLText.quoted("\(folder)/mint.key")),
            ]
        )
            + TOMLText.section(
                "\n[listen]",
                [("addresses", TOMLText.list(Self.mintAddresses(of: host)))]
            )
            + TOMLText.section(
                "\n[directory]",
                [
                    ("network", TOMLText.quoted(network)),
                    ("parameters", TOMLText.quoted(parameters)),
                ]
            )
            + TOMLText.section(
                "\n[control]",
                [("socket", TOMLText.quoted(Self.mintSocket(in: folder)))]
            )
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
                values.append(("resolver", TOMLText.quoted(resolver)))
            }
            if !exit.upstreams.isEmpty {
                values.append(("upstreams", TOMLText.list(exit.upstreams.map(\.description))))
            }
            text += TOMLText.section("\n[exit]", values)
        }
        // A lab that ends waits for nobody.
        let limits = [("shards", "\(host.shards)"), ("drain", TOMLText.quoted("0s"))]
        text += TOMLText.section("\n[limits]", limits)
        if topology.servesMetrics {
            let address = TOMLText.quoted("127.0.0.1:\(Topology.metricsPort)")
            text += TOMLText.section("\n[metrics]", [("listen", address)])
        }
        return text + controlSection(folder)
    }

    private func clientText(folder: String) -> String {
        let client = [("state", TOMLText.quoted("\(folder)/state"))]
        let tunnel = [
            ("mtu", "1280"), ("name", TOMLText.quoted("umbel0")),
            ("mode", TOMLText.quoted(topology.mode.rawValue)),
            // A lab has no user whose coming is to be hidden.
            ("session_offset", TOMLText.quoted("0s")),
        ]
        return TOMLText.section("[client]", client) + directorySection
            + TOMLText.section("\n[tunnel]", tunnel)
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
            let path = "\(folder.host(host.name))/authority.key"
            keys.append(try await makeKey(host.name, authorityKey(path)))
        }
        var mints: [String] = []
        for host in topology.hosts where host.isMint {
            let path = "\(folder.host(host.name))/mint.key"
            mints.append(try await makeKey(host.name, mintKey(path)))
        }
        var admins: [String] = []
        for index in 0..<(mints.isEmpty ? 0 : Self.adminCount) {
            admins.append(try await makeKey("the admins", adminKey(adminKeyFile(index))))
        }
        try write(networkText(keys: keys, mints: mints, admins: admins), to: network)
        try write(parametersText, to: parameters)
        for (path, isV4) in zip(countries, [true, false]) {
            try write(countryText(isV4: isV4), to: path)
        }
        for host in topology.hosts {
            let path = folder.host(host.name)
            if host.isMint { try write(mintText(host, folder: path), to: "\(path)/mint.toml") }
            switch host.role {
            case .authority:
                try write(authorityText(host, folder: path), to: "\(path)/authority.toml")
            case .relay:
                try write(relayText(host, folder: path), to: "\(path)/relay.toml")
                let account = try await makeKey(host.name, relayKey("\(path)/state"))
                try await signGrant(to: account, of: host.name, ifAny: mints)
            case .client:
                try write(clientText(folder: path), to: "\(path)/client.toml")
                let account = try await makeKey(host.name, self.account("\(path)/state"))
                try await signGrant(to: account, of: host.name, ifAny: mints)
            case .internet, .plain: break
            }
        }
        let relays = topology.hosts.filter { $0.role == .relay }.count
        progress.say("keys of \(keys.count) authorities and \(relays) relays")
    }

    // MARK: - Money

    private func grant(of host: String) -> String { "\(directory)/\(host).grant" }

    /// Lets the admins sign what the account of `host` gets, where there are mints.
    private func signGrant(
        to account: String,
        of host: String,
        ifAny mints: [String]
    ) async throws(LabError) {
        guard !mints.isEmpty else { return }
        let keys = (0..<Self.grantThreshold).flatMap { ["--key", adminKeyFile($0)] }
        _ = try await run(
            host,
            [umbel, "grant", "sign"] + keys + [
                "--network", network, "--account", account, "--ticks", "\(Self.faucetTicks)",
                "--reference", "lab \(folder.lab), \(host)", "--output", grant(of: host),
            ]
        )
    }

    /// Brings the grants of all nodes to the mints, once the consensus names them.
    ///
    /// - Throws: ``LabError`` where no mint takes them before `deadline`.
    func deliverGrants(deadline: ContinuousClock.Instant) async throws(LabError) {
        guard let host = topology.hosts.first(where: \.isMint) else { return }
        let files = topology.hosts.filter { $0.role == .relay || $0.role == .client }
            .map { grant(of: $0.name) }
        guard !files.isEmpty else { return }
        while true {
            do {
                try await CommandRunner(namespace: "\(folder.lab)-\(host.name)").run(
                    [umbel, "grant", "send"] + files + ["--network", network]
                )
                return
            } catch {
                guard ContinuousClock.now < deadline else {
                    throw LabError("the mints take no grants", why: error.why)
                }
                try? await Task.sleep(for: .milliseconds(300))
            }
        }
    }

    /// The programs of the lab's own that `host` runs.
    ///
    /// - Throws: ``LabError`` where `ip` is missing.
    func programs(of host: Topology.Host) throws(LabError) -> [Manifest.Program] {
        let path = folder.host(host.name)
        var programs: [Manifest.Program] = []
        func add(_ title: String, _ argv: [String], socket: String) throws(LabError) {
            do {
                let runner = CommandRunner(namespace: "\(folder.lab)-\(host.name)")
                programs.append(
                    Manifest.Program(
                        title: title,
                        command: try runner.command(for: argv),
                        log: "\(path)/\(title).log",
                        socket: socket,
                        port: nil,
                        process: nil
                    )
                )
            } catch {
                throw LabError("host \(host.name) cannot run its \(title)", error)
            }
        }
        let socket = Self.socket(in: path)
        switch host.role {
        case .authority:
            try add("authority", authority("\(path)/authority.toml"), socket: socket)
        case .relay: try add("relay", relay("\(path)/relay.toml"), socket: socket)
        case .client: try add("daemon", daemon("\(path)/client.toml"), socket: socket)
        case .internet, .plain: break
        }
        if host.isMint {
            try add("mint", mint("\(path)/mint.toml"), socket: Self.mintSocket(in: path))
        }
        return programs
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
