public import Base

/// What the operator of a mint decides: `mint.toml`, read by `umbel mint run`.
public struct MintConfiguration: Hashable, Sendable {
    /// The file this was read from.
    public var file: String
    /// Folder of the mint's state, its ledger above all, mode 0700.
    public var stateFolder: String
    /// Path of the mint's key, as `umbel mint keygen` made it.
    public var key: String
    /// Addresses it answers on over HTTP, TCP; 1 to 4, and announces.
    public var listenAddresses: [SocketAddress]
    /// Path of the trust root, read by ``NetworkConfiguration``.
    public var network: String
    /// Path of what the authorities want in the consensus, read by ``ParametersConfiguration``: the
    /// epoch's length from it serves until a consensus says it; `nil` to wait for one.
    public var parameters: String?
    /// Where the mint answers its operator.
    public var control: ControlSocket

    /// Where the mint answers unless its file says otherwise.
    public static let defaultSocket = "/run/umbel/mint/control.sock"

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
        let addresses = listen.required("addresses", .list(.socketAddress, limit: 4))
        if let addresses, addresses.isEmpty {
            listen.note(
                "addresses",
                what: "`addresses` in [listen] is empty",
                why: "relays and the other mints ask there",
                hint: "set `addresses` to 1 to 4 addresses with their ports"
            )
        }
        let directory = document.section("directory")
        let network = directory.requiredPath("network")
        parameters = directory.optionalPath("parameters")
        control = ControlSocket.read(document.section("control"), default: Self.defaultSocket)
        try document.finish()
        guard let stateFolder, let key, let addresses, let network else {
            throw document.failure
        }
        file = document.file
        self.stateFolder = stateFolder
        self.key = key
        listenAddresses = addresses
        self.network = network
    }

    /// What is wrong with the files this configuration names; empty when the mint can start.
    public func fileProblems() -> [ConfigurationProblem] {
        let files = [
            ConfigurationProblem.missing(
                network,
                key: "network",
                in: file,
                hint: "write the network.toml of the network, the same for every node"
            ),
            ConfigurationProblem.missing(
                key,
                key: "key",
                in: file,
                hint: "umbel mint keygen --output \(key)"
            ),
        ]
        return files.compactMap(\.self) + SecretFile.problems(inFolder: stateFolder)
    }
}
