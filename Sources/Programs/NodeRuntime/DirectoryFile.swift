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
    private var known: KnownDirectory
    private var stamp: FileStamp?

    init(path: String, root: TrustRoot) {
        self.path = path
        known = KnownDirectory(root: root)
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
        stamp = now
        do {
            let document = try ConsensusDocument(parsing: bytes)
            _ = try known.accept(document, at: wall)
            return known.view.map { .view($0) }
        } catch {
            return .refused("\(path): \(error)")
        }
    }

    private mutating func forget() -> News? {
        stamp = nil
        return .refused("\(path) is gone; going on with what it said last")
    }
}
