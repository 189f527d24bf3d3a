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

/// The consensus as a file that is read again whenever it changes.
struct DirectoryFile: Sendable {
    private let path: String
    private let memoryPath: String
    private var known: KnownDirectory
    private var stamp: FileStamp?
    private var refusal: String?

    /// Watches the file at `path`; what was believed last is remembered in `stateFolder`, so that
    /// nothing older is believed after a restart.
    init(path: String, root: TrustRoot, stateFolder: String) {
        self.path = path
        memoryPath = "\(stateFolder)/directory.state"
        known = KnownDirectory(root: root, lastSeen: Self.remembered(at: memoryPath))
    }

    /// `valid_after u64 | digest 32`; `nil` for anything else.
    private static func remembered(at path: String) -> TrustRoot.LastSeen? {
        guard let bytes = StateFolder.read(path) else { return nil }
        var reader = ByteReader(bytes)
        guard let seconds = try? reader.read(UInt64.self), let digest = try? reader.readBytes32()
        else { return nil }
        return TrustRoot.LastSeen(validAfter: WallTime(seconds: seconds), digest: digest)
    }

    private func remember() throws {
        guard let last = known.remembered else { return }
        var writer = ByteWriter(capacity: 40)
        writer.write(last.validAfter.seconds)
        writer.write(last.digest)
        try StateFolder.write(writer.bytes, to: memoryPath)
    }

    /// What a look at the file brought.
    enum News: Sendable {
        /// A view to work by from now on.
        case view(NetworkView)
        /// The file says nothing that could be believed.
        case refused(String)
    }

    /// Reads the file if it changed since the last look; `nil` if it did not.
    mutating func look(at wall: WallTime) -> News? {
        let now = StateFolder.stamp(path)
        guard let now else { return stamp == nil ? nil : forget() }
        guard now != stamp, let bytes = StateFolder.read(path) else { return nil }
        do {
            let document = try ConsensusDocument(parsing: bytes)
            _ = try known.accept(document, at: wall)
            // Only now: a document that is refused today may hold tomorrow.
            stamp = now
            refusal = nil
            try remember()
            return known.view.map { .view($0) }
        } catch {
            let reason = "\(path): \(error)"
            guard reason != refusal else { return nil }
            refusal = reason
            return .refused(reason)
        }
    }

    private mutating func forget() -> News? {
        stamp = nil
        return .refused("\(path) is gone; going on with what it said last")
    }
}
