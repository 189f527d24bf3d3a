import Base
public import Directory
public import NodeConfiguration
import Wire

extension TrustRoot {
    /// The trust root a `network.toml` describes.
    ///
    /// - Throws: ``DirectoryError`` where its parts do not go together.
    public init(_ configuration: NetworkConfiguration) throws(DirectoryError) {
        try self.init(
            network: NetworkID(configuration.networkID),
            threshold: configuration.threshold,
            authorities: configuration.authorities.map {
                Authority(index: $0.index, key: $0.key, name: $0.name)
            }
        )
    }
}

extension NetworkConfiguration {
    /// Where the authority with `index` answers over HTTP.
    func addresses(of index: UInt8) -> [SocketAddress] {
        authorities.first { $0.index == index }?.addresses ?? []
    }

    /// Whether the directory can be fetched at all.
    var hasAddresses: Bool {
        authorities.contains { !$0.addresses.isEmpty }
    }
}

/// A consensus in a file somebody else writes, read again whenever it changes.
struct DirectoryFile: Sendable {
    let path: String
    private var stamp: FileStamp?

    /// Watches the file at `path`.
    init(path: String) {
        self.path = path
    }

    /// The file's bytes if it changed since ``noteBelieved()``; `nil` where it did not or is gone.
    func changed() -> [UInt8]? {
        guard let now = StateFolder.stamp(path), now != stamp else { return nil }
        return StateFolder.read(path)
    }

    /// Notes that what the file says now is believed: only then it need not be read again, for a
    /// document that is refused today may hold tomorrow.
    mutating func noteBelieved() {
        stamp = StateFolder.stamp(path)
    }
}

/// What a node of one network remembers of its directory over a restart.
struct DirectoryStore: Sendable {
    private let folder: String

    /// Keeps its files in `stateFolder`.
    init(stateFolder: String) {
        folder = stateFolder
    }

    private var cachePath: String { "\(folder)/consensus.cache" }
    private var memoryPath: String { "\(folder)/directory.state" }

    /// The document of the last run, not yet believed again; `nil` where there is none.
    var cached: ConsensusDocument? {
        StateFolder.read(cachePath).flatMap { try? ConsensusDocument(parsing: $0) }
    }

    /// The document believed last: `valid_after u64 | digest 32`.
    var lastSeen: TrustRoot.LastSeen? {
        guard let bytes = StateFolder.read(memoryPath) else { return nil }
        var reader = ByteReader(bytes)
        guard let seconds = try? reader.read(UInt64.self), let digest = try? reader.readBytes32()
        else { return nil }
        return TrustRoot.LastSeen(validAfter: WallTime(seconds: seconds), digest: digest)
    }

    /// Puts a believed document on disk, so that nothing older is believed after a restart.
    func store(_ document: ConsensusDocument) throws {
        var writer = ByteWriter(capacity: 40)
        writer.write(document.consensus.validAfter.seconds)
        writer.write(document.digest)
        try StateFolder.write(document.encoded(), to: cachePath)
        try StateFolder.write(writer.bytes, to: memoryPath)
    }

    /// Puts the proof that authorities signed two documents on disk; returns where it is.
    func store(_ proof: Equivocation) throws -> String {
        let path = "\(folder)/equivocation-\(proof.validAfter.seconds).proof"
        try StateFolder.write(proof.encoded(), to: path)
        return path
    }

    /// The newest proof on disk, checked against `root`.
    func proof(under root: TrustRoot) -> Equivocation? {
        StateFolder.names(in: folder)
            .filter { $0.hasPrefix("equivocation-") && $0.hasSuffix(".proof") }
            .sorted().reversed().lazy
            .compactMap { StateFolder.read("\(folder)/\($0)") }
            .compactMap { try? Equivocation(parsing: $0, under: root) }
            .first
    }
}
