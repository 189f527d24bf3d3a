public import Base

/// What a relay's operator decides: `relay.toml`.
public struct RelayConfiguration: Hashable, Sendable {
    /// The file this was read from.
    public var file: String
    /// The relay's name in the directory: 1 to 19 letters, digits or hyphens.
    public var nickname: String
    /// How to reach the operator; at most 128 bytes, may be empty.
    public var contact: String
    /// Folder of the relay's keys and state, mode 0700.
    public var stateFolder: String
    /// The country to claim, two capitals; `nil` to leave it to the authorities.
    public var country: String?
    /// File of the key of the operator's family: its relays never share a path; `nil` for none.
    public var familyKey: String?
    /// Addresses the relay receives on, and announces; 1 to 8.
    public var listenAddresses: [SocketAddress]
    /// The directory to trust.
    public var directory: DirectoryFiles
    /// What leaves the network here.
    public var exit: Exit
    /// Where the relay answers its operator.
    public var control: ControlSocket
    /// Bounds on what the relay takes on.
    public var limits: Limits
    /// What the relay may take of the operator's line.
    public var line: Line
    /// Where the relay tells what it counts.
    public var metrics: Metrics

    /// What an exit lets out, and how.
    public struct Exit: Hashable, Sendable {
        /// Whether the relay is an exit at all; off unless asked for.
        public var isEnabled: Bool
        /// Networks opened although the default policy refuses them.
        public var allowedNetworks: [IPNetwork]
        /// Ports that are let out.
        public var ports: [ClosedRange<UInt16>]
        /// Connections a circuit may begin in a second.
        public var flowsPerSecond: Int
        /// Connections a circuit may hold open.
        public var flowsPerCircuit: Int
        /// Addresses leased to circuits.
        public var ipv4Pool: IPNetwork
        /// IPv6 addresses leased to circuits.
        public var ipv6Pool: IPNetwork
        /// The resolver that answers for the circuits; `nil` for the system's.
        public var resolver: IPAddress?
        /// Whether IPv6 leaves here; it is refused otherwise.
        public var carriesIPv6: Bool
        /// Name of the exit's TUN interface.
        public var interface: String
    }

    /// Bounds on what the relay takes on.
    public struct Limits: Hashable, Sendable {
        /// Threads that forward cells.
        public var shards: Int
        /// Circuits open at one time.
        public var circuits: Int
        /// Links open at one time.
        public var links: Int
    }

    /// Where the relay answers unless its file says otherwise.
    public static let defaultSocket = "/run/umbel/relay.sock"

    /// Reads `file`, with the overrides of `environment`.
    ///
    /// - Throws: ``ConfigurationError`` with every problem found.
    public init(file: String, environment: [String: String] = [:]) throws(ConfigurationError) {
        let document = try Document(file: file, environment: environment)
        let node = document.section("node")
        let nickname = node.required("nickname", .nickname)
        let stateFolder = node.requiredPath("state")
        contact = node.value("contact", .text(limit: 128), default: "")
        country = node.optional("country", .country)
        familyKey = node.optionalPath("family_key")

        let listen = document.section("listen")
        let addresses = listen.required("addresses", .list(.socketAddress, limit: 8))
        if let addresses, addresses.isEmpty || Set(addresses).count != addresses.count {
            listen.note(
                "addresses",
                what: "`addresses` in [listen] is empty or names an address twice",
                why: "a relay receives on each of its addresses once",
                hint: "set `addresses` to 1 to 8 different addresses"
            )
        }

        let directory = DirectoryFiles.read(document.section("directory"))
        exit = Exit(document.section("exit"))
        control = ControlSocket.read(document.section("control"), default: Self.defaultSocket)
        let bounds = document.section("limits")
        limits = Limits(bounds)
        line = Line(bounds)
        metrics = Metrics(document.section("metrics"))

        try document.finish()
        guard let nickname, let stateFolder, let addresses, let directory else {
            throw document.failure
        }
        self.file = file
        self.nickname = nickname
        self.stateFolder = stateFolder
        self.listenAddresses = addresses
        self.directory = directory
    }

    /// What is wrong with the files this configuration names; empty when the relay can start.
    public func fileProblems() -> [ConfigurationProblem] {
        let network = ConfigurationProblem.missing(
            directory.network,
            key: "network",
            in: file,
            hint: "ask an authority for its network.toml"
        )
        return [network].compactMap(\.self) + SecretFile.problems(inFolder: stateFolder)
    }
}

extension RelayConfiguration.Exit {
    init(_ section: Section) {
        isEnabled = section.value("enabled", .flag, default: false)
        allowedNetworks = section.value("allow", .list(.network, limit: 64), default: [])
        ports = Self.ports(section)
        flowsPerSecond = section.value("flows_per_second", .integer(1...100_000), default: 200)
        flowsPerCircuit = section.value("flows", .integer(16...65_536), default: 4_096)
        ipv4Pool = section.value("ipv4_pool", .ipv4Pool, default: Self.defaultIPv4Pool)
        ipv6Pool = section.value("ipv6_pool", .ipv6Pool, default: Self.defaultIPv6Pool)
        resolver = section.optional("resolver", .address)
        carriesIPv6 = section.value("ipv6", .flag, default: true)
        interface = section.value("interface", .interface, default: "umbel-exit")
    }

    /// The ports that `ports` names, or `preset`; not both.
    private static func ports(_ section: Section) -> [ClosedRange<UInt16>] {
        let named = section.optional("ports", .list(.ports, limit: 32))
        let preset = section.optional("preset", .choice(RelayConfiguration.PortPreset.self))
        if named != nil, preset != nil {
            section.note(
                "preset",
                what: "`preset` and `ports` in [exit] contradict each other",
                why: "a preset is a list of ports, and so is the other",
                hint: "keep one of the two"
            )
        }
        if let named, named.isEmpty {
            section.note(
                "ports",
                what: "`ports` in [exit] is empty",
                why: "an exit that lets nothing out is no exit",
                hint: "name ports, or set `enabled = false`"
            )
        }
        return named ?? preset?.ports ?? RelayConfiguration.PortPreset.open.ports
    }

    // 100.64.0.0/16
    private static let defaultIPv4Pool = IPNetwork(
        IPAddress(v4: 0x6440_0000),
        prefixBitCount: 112
    )
    // fd75:6d62:656c:e::/64
    private static let defaultIPv6Pool = IPNetwork(
        IPAddress(high: 0xfd75_6d62_656c_000e, low: 0),
        prefixBitCount: 64
    )
}

extension RelayConfiguration.Limits {
    init(_ section: Section) {
        shards = section.value("shards", .integer(1...64), default: 1)
        circuits = section.value("circuits", .integer(1...1_048_576), default: 65_536)
        links = section.value("links", .integer(1...65_536), default: 4096)
    }
}
