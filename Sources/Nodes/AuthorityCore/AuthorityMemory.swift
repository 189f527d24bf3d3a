public import Base
public import Directory
public import Wire

/// What an authority has on disk before it says anything: a restart must not make it say two things.
public struct AuthorityMemory: Hashable, Sendable {
    /// The `valid_after` of the vote it made last.
    public var votedFor = WallTime(seconds: 0)
    /// The `valid_after` of the document it signed last.
    public var signedFor = WallTime(seconds: 0)
    /// Its log of documents, the newest it believed included.
    public var log = DirectoryLog()
    /// The `valid_after` of the newest document in the log.
    public var newest = WallTime(seconds: 0)

    /// Starts with nothing said.
    public init() {}

    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: ``WireError`` for anything else.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.version else {
            throw .unknown(field: "authority memory", value: UInt64(version))
        }
        votedFor = WallTime(seconds: try reader.read())
        signedFor = WallTime(seconds: try reader.read())
        newest = WallTime(seconds: try reader.read())
        log = try DirectoryLog(parsing: reader.readRemaining())
    }

    /// The memory as bytes: `version u8 | voted u64 | signed u64 | newest u64 | log`.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 64)
        writer.write(Self.version)
        writer.write(votedFor.seconds)
        writer.write(signedFor.seconds)
        writer.write(newest.seconds)
        writer.write(log.encoded())
        return writer.bytes
    }

    private static let version: UInt8 = 1
}
