/// Datagrams to send, all of one size, grouped by destination and named by their place in an arena.
///
/// Whoever makes the datagrams lays the trains out, one after the other; nothing is copied, so the
/// bytes must stay until they are sent. Owned by its maker and used again and again: once its
/// arrays have grown to a batch, nothing here allocates.
public struct DatagramTrains: ~Copyable, Sendable {
    /// Datagrams for one destination, in the order they were made.
    public struct Train: Sendable {
        /// Where they go.
        public let destination: SocketAddress
        /// Places in ``DatagramTrains/offsets``.
        public let range: Range<Int>
    }

    /// Where in the arena the datagrams begin, train by train.
    @inlinable public var offsets: [Int32] { places }
    @usableFromInline var places: [Int32] = []
    /// The trains.
    public private(set) var trains: [Train] = []

    /// Makes an empty set of trains.
    public init() {}

    /// Whether there is nothing to send.
    public var isEmpty: Bool {
        trains.isEmpty
    }

    /// Appends the datagram at `offset` of the arena to the train that is being laid out.
    @inlinable
    public mutating func append(_ offset: Int32) {
        places.append(offset)
    }

    /// Ends a train: what was appended since the last one goes to `destination`.
    public mutating func endTrain(to destination: SocketAddress) {
        let start = trains.last?.range.upperBound ?? 0
        guard start < places.count else { return }
        trains.append(Train(destination: destination, range: start..<places.count))
    }

    /// Empties all trains; their room stays.
    public mutating func removeAll() {
        places.removeAll(keepingCapacity: true)
        trains.removeAll(keepingCapacity: true)
    }
}
