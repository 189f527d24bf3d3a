public import Base

/// What a client's owner decides: `client.toml`, read by `umbel daemon`.
public struct ClientConfiguration: Hashable, Sendable {
    /// The file this was read from.
    public var file: String
    /// Folder of the client's state, guards above all, mode 0700.
    public var stateFolder: String
    /// The directory to trust.
    public var directory: DirectoryFiles
    /// How paths are chosen and built.
    public var path: Path
    /// The tunnel interface.
    public var tunnel: Tunnel
    /// What goes beside the tunnel while the machine is up.
    public var split: Split
    /// How relays are paid.
    public var payment: Payment
    /// Where the daemon answers the command line.
    public var control: ControlSocket

    /// How relays are paid.
    public struct Payment: Hashable, Sendable {
        /// File of the account's key, such as a relay's `identity.key` on the same machine; `nil` for
        /// the client's own, `account.key` in its state folder.
        public var account: String?
    }

    /// How circuits come to be.
    public enum Build: String, CaseIterable, Sendable {
        /// All three hops in one round trip.
        case pipelined
        /// One hop after the other.
        case telescoped
    }

    /// How paths are chosen and built.
    public struct Path: Hashable, Sendable {
        /// Countries the exit may stand in, two capitals each; empty for any.
        public var exitCountries: [String]
        /// How circuits are built.
        public var build: Build
        /// Relays never to use.
        public var excluded: [Bytes32]
        /// Countries none of whose relays is to be used, two capitals each.
        public var excludedCountries: [String]
    }

    /// The tunnel interface.
    public struct Tunnel: Hashable, Sendable {
        /// Largest IP packet the tunnel takes, in bytes.
        public var mtu: Int
        /// Name of the interface.
        public var name: String
        /// What the traffic looks like unless a command says otherwise.
        public var mode: Mode
        /// Slot length of `mix`.
        public var slot: Slot
        /// Within which time of its first slot a `mix` tunnel begins to carry packets, and within
        /// which time of its end its cover ends, each drawn anew.
        public var sessionOffset: TimeSpan
    }

    /// What traffic looks like to who watches it.
    public enum Mode: String, CaseIterable, Sendable {
        /// Cells leave as they come.
        case fast
        /// Cells leave at one of four rates.
        case padded
        /// A cell leaves in each slot.
        case mix
    }

    /// A slot length of `mix`.
    public enum Slot: String, CaseIterable, Sendable {
        /// What the network says.
        case auto
        /// 50 cells a second.
        case twenty = "20ms"
        /// 100 cells a second.
        case ten = "10ms"
        /// 200 cells a second.
        case five = "5ms"
        /// 400 cells a second.
        case twoAndAHalf = "2.5ms"
    }

    /// What goes beside the tunnel while the machine is up.
    public struct Split: Hashable, Sendable {
        /// Whether the local network is reached.
        public var allowsLocalNetwork: Bool
        /// Networks.
        public var networks: [IPNetwork]
        /// Names, whose addresses are asked for in the tunnel.
        public var names: [String]
    }

    /// Where the daemon answers unless its file says otherwise.
    public static let defaultSocket = "/run/umbel/control.sock"

    /// Reads `file`, with the overrides of `environment`.
    ///
    /// - Parameter places: where state and socket are unless the file says otherwise.
    /// - Throws: ``ConfigurationError`` with every problem found.
    public init(
        file: String,
        environment: [String: String] = [:],
        places: ClientPlaces = .system
    ) throws(ConfigurationError) {
        try self.init(Document(file: file, environment: environment), places: places)
    }

    /// What ``init(file:environment:places:)`` makes of the same, as a file that says all of it.
    ///
    /// - Throws: ``ConfigurationError`` with every problem found.
    public static func text(
        file: String,
        environment: [String: String] = [:],
        places: ClientPlaces = .system
    ) throws(ConfigurationError) -> String {
        let document = try Document(file: file, environment: environment)
        _ = try Self(document, places: places)
        return document.text
    }

    private init(_ document: Document, places: ClientPlaces) throws(ConfigurationError) {
        stateFolder = document.section("client").path("state", default: places.stateFolder)
        let directory = DirectoryFiles.read(document.section("directory"))

        let path = document.section("path")
        self.path = Path(
            exitCountries: path.value(
                "exit_countries",
                .list(.country, limit: 256),
                default: []
            ),
            build: path.value("build", .choice(Build.self), default: .pipelined),
            excluded: path.value("exclude", .list(.bytes32, limit: 256), default: []),
            excludedCountries: path.value(
                "exclude_countries",
                .list(.country, limit: 256),
                default: []
            )
        )

        let tunnel = document.section("tunnel")
        self.tunnel = Tunnel(
            mtu: tunnel.value("mtu", .integer(1280...9000), default: 1280),
            name: tunnel.value("name", .interface, default: "umbel0"),
            mode: tunnel.value("mode", .choice(Mode.self), default: .fast),
            slot: tunnel.value("slot", .choice(Slot.self), default: .auto),
            sessionOffset: tunnel.value(
                "session_offset",
                .duration(.zero...TimeSpan.seconds(3_600)),
                default: .seconds(300)
            )
        )
        let beside = document.section("split")
        let outside = beside.value("outside", .list(.outside, limit: 256), default: [])
        split = Split(
            allowsLocalNetwork: beside.value("local_network", .flag, default: false),
            networks: outside.compactMap { IPNetwork($0) },
            names: outside.filter { IPNetwork($0) == nil }
        )
        payment = Payment(account: document.section("payment").optionalPath("account"))
        control = ControlSocket.read(document.section("control"), default: places.socket)

        try document.finish()
        guard let directory else { throw document.failure }
        file = document.file
        self.directory = directory
    }

    /// What is wrong with the files this configuration names; empty when the daemon can start.
    public func fileProblems() -> [ConfigurationProblem] {
        let network = ConfigurationProblem.missing(
            directory.network,
            key: "network",
            in: file,
            hint: "take the network.toml of the network you want to join"
        )
        return [network].compactMap(\.self) + SecretFile.problems(inFolder: stateFolder)
    }
}
