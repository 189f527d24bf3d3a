public import Base

/// Datagrams to send, all of one size, grouped by destination and named by their place in an arena.
///
/// Append in any order: each destination's datagrams keep theirs. Nothing is copied, so the bytes
/// must stay until they are sent. Room for datagrams and destinations is fixed; when an append
/// says there is none, send and go on. Owned by the caller and used again and again.
public struct DatagramTrains: ~Copyable, Sendable {
    /// Bytes of every datagram.
    public let datagramByteCount: Int
    /// Datagrams it holds at most.
    public let datagramCapacity: Int
    /// Destinations it holds at most.
    public let trainCapacity: Int

    struct Train: BitwiseCopyable {
        let destination: SocketAddress
        var count: Int
        var first: Int32
        var last: Int32
    }

    /// A datagram and the index of the one behind it in its train.
    struct Link: BitwiseCopyable {
        let offset: Int
        var next: Int32
    }

    private(set) var trains: [Train] = []
    private(set) var links: [Link] = []

    /// Makes an empty set of trains.
    ///
    /// - Precondition: `datagramByteCount` is 1 to 65 507, both capacities are 1 to 65 536.
    public init(datagramByteCount: Int, datagramCapacity: Int, trainCapacity: Int) {
        precondition((1...65_507).contains(datagramByteCount), "no size of a datagram")
        precondition((1...65_536).contains(datagramCapacity), "no count of datagrams")
        precondition((1...65_536).contains(trainCapacity), "no count of trains")
        self.datagramByteCount = datagramByteCount
        self.datagramCapacity = datagramCapacity
        self.trainCapacity = trainCapacity
        trains.reserveCapacity(trainCapacity)
        links.reserveCapacity(datagramCapacity)
    }

    /// How many datagrams there are.
    public var datagramCount: Int {
        links.count
    }

    /// Whether there is nothing to send.
    public var isEmpty: Bool {
        links.isEmpty
    }

    /// Adds the datagram at `offset` of the arena to those for `destination`.
    ///
    /// Looks through the destinations from the newest back: fast where neighbours are few or come
    /// in runs, at most ``trainCapacity`` comparisons.
    /// - Returns: false, and nothing done, when there is no room: send first.
    public mutating func append(_ offset: Int, to destination: SocketAddress) -> Bool {
        guard links.count < datagramCapacity else { return false }
        let link = Int32(truncatingIfNeeded: links.count)
        if let index = trains.lastIndex(where: { $0.destination == destination }) {
            links[Int(trains[index].last)].next = link
            trains[index].last = link
            trains[index].count += 1
        } else {
            guard trains.count < trainCapacity else { return false }
            trains.append(Train(destination: destination, count: 1, first: link, last: link))
        }
        links.append(Link(offset: offset, next: -1))
        return true
    }

    /// Empties all trains; their room stays.
    public mutating func removeAll() {
        trains.removeAll(keepingCapacity: true)
        links.removeAll(keepingCapacity: true)
    }
}
