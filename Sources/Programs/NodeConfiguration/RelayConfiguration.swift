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
    /// Addresses the relay receives on; 1 to 8.
    public var listenAddresses: [SocketAddress]
    /// Addresses others reach it by, the first of a family being announced: those it receives on,
    /// unless a router forwards others to it.
    public var announcedAddresses: [SocketAddress]
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
    public static let defaultSocket = "/run/umbel/relay/control.sock"

    /// Reads `file`, with the overrides of `environment`.
    ///
    /// - Throws: ``ConfigurationError`` with every problem found.
    public init(file: String, environment: [String: String] = [:]) throws(ConfigurationError) {
        try self.init(Document(file: file, environment: environment))
    }

    /// What ``init(file:environment:)`` makes of the same, as a file that says all of it.
    ///
    /// - Throws: ``ConfigurationError`` with every problem found.
    public static func text(
        file: String,
        environment: [String: String] = [:]
    ) throws(ConfigurationError) -> String {
        let document = try Document(file: file, environment: environment)
        _ = try Self(document)
        return document.text
    }

    private init(_ document: Document) throws(ConfigurationError) {
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

        announcedAddresses = listen.value(
            "announce",
            .list(.socketAddress, limit: 2),
            default: addresses ?? []
        )

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
        file = document.file
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

extension RelayConfiguration.Limits {
    init(_ section: Section) {
        shards = section.value("shards", .integer(1...64), default: 1)
        circuits = section.value("circuits", .integer(1...1_048_576), default: 65_536)
        links = section.value("links", .integer(1...65_536), default: 4096)
    }
}
