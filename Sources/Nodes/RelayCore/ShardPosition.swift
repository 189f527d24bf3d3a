public import Base
import Wire

/// Which of a relay's shards one is.
///
/// A link belongs to the shard its session's number names: the number modulo the count, drawn so by
/// the relay, which receives under it. So a datagram tells whose it is wherever its sender has moved.
/// Spec: PROTOCOL.md §C.2.
public struct ShardPosition: Hashable, Sendable {
    /// Its number, from 0 on.
    public let index: Int
    /// How many there are.
    public let count: Int

    /// The only shard.
    public init() {
        self.init(index: 0, of: 1)
    }

    /// Shard `index` of `count`.
    ///
    /// - Precondition: `index` is below `count`, and that is at most 64.
    public init(index: Int, of count: Int) {
        precondition(count > 0 && count <= 64 && (0..<count).contains(index), "no such shard")
        self.index = index
        self.count = count
    }

    /// The other shard the datagram belongs to; `nil` where it is this one's, or no link's yet.
    func owner(of datagram: Int, in bytes: RawSpan) -> Int? {
        let number: UInt32 = bytes.loadBigEndian(at: datagram + Datagram.sessionOffset)
        guard let session = SessionID(rawValue: number) else { return nil }
        let owner = session.shard(of: count)
        return owner == index ? nil : owner
    }
}

/// Something that came to one shard and belongs to another.
public struct HandOver: Sendable {
    /// What it is.
    public enum Content: Sendable {
        /// A datagram, whole.
        case datagram([UInt8], from: SocketAddress)
        /// A packet of the TUN device, its offload header first.
        case packet([UInt8])
    }

    /// Whose it is.
    public let shard: Int
    /// The thing itself.
    public let content: Content
}
