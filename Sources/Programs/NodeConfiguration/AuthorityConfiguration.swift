public import Base

/// What the operator of an authority decides: `authority.toml`, read by `umbel authority run`.
public struct AuthorityConfiguration: Hashable, Sendable {
    /// The file this was read from.
    public var file: String
    /// Folder of the authority's state, mode 0700.
    public var stateFolder: String
    /// Path of the authority's signing key, as `umbel authority keygen` made it.
    public var key: String
    /// Addresses it answers on over HTTP, TCP; 1 to 8.
    public var listenAddresses: [SocketAddress]
    /// Path of the trust root, read by ``NetworkConfiguration``.
    public var network: String
    /// Path of what it wants in the consensus, read by ``ParametersConfiguration``.
    public var parameters: String
    /// Paths of the tables that tell countries from addresses, as Debian's `tor-geoipdb` has them.
    public var countryTables: [String]
    /// Paths of the tables that tell autonomous systems from addresses; none is usual.
    public var systemTables: [String]
    /// Where the authority answers its operator.
    public var control: ControlSocket

    /// Where the authority answers unless its file says otherwise.
    public static let defaultSocket = "/run/umbel/authority/control.sock"
    /// Where `tor-geoipdb` puts its tables.
    public static let defaultCountryTables = ["/usr/share/tor/geoip", "/usr/share/tor/geoip6"]

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
        let stateFolder = node.requiredPath("state")
        let key = node.requiredPath("key")
        let listen = document.section("listen")
        let addresses = listen.required("addresses", .list(.socketAddress, limit: 8))
        if let addresses, addresses.isEmpty {
            listen.note(
                "addresses",
                what: "`addresses` in [listen] is empty",
                why: "relays, clients and the other authorities ask there",
                hint: "set `addresses` to 1 to 8 addresses with their ports"
            )
        }
        let directory = document.section("directory")
        let network = directory.requiredPath("network")
        let parameters = directory.requiredPath("parameters")
        let places = document.section("places")
        let paths = ValueKind.list(.text(limit: 4096), limit: 8)
        countryTables = places.value("countries", paths, default: Self.defaultCountryTables)
        systemTables = places.value("systems", paths, default: [])
        control = ControlSocket.read(document.section("control"), default: Self.defaultSocket)
        try document.finish()
        guard let stateFolder, let key, let addresses, let network, let parameters else {
            throw document.failure
        }
        file = document.file
        self.stateFolder = stateFolder
        self.key = key
        listenAddresses = addresses
        self.network = network
        self.parameters = parameters
    }

    /// What is wrong with the files this configuration names; empty when the authority can start.
    public func fileProblems() -> [ConfigurationProblem] {
        let files = [
            ConfigurationProblem.missing(
                network,
                key: "network",
                in: file,
                hint: "write the network.toml of the network, the same for every node"
            ),
            ConfigurationProblem.missing(
                parameters,
                key: "parameters",
                in: file,
                hint: "copy Topology/examples/parameters.toml"
            ),
            ConfigurationProblem.missing(
                key,
                key: "key",
                in: file,
                hint: "umbel authority keygen --output \(key)"
            ),
        ]
        return files.compactMap(\.self)
    }
}
