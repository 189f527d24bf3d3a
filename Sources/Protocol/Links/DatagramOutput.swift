public import Base
import Wire

/// Datagrams that are ready to leave, grouped by neighbour; they lie in the caller's arena.
///
/// The shell sends each train at once (one destination, equal sizes) and then calls ``clear()``.
/// Nothing is allocated once the arrays have grown to a batch. Bounded by the arena's region for
/// generated datagrams and by what came in: every datagram received yields at most one sent.
public struct DatagramOutput: ~Copyable {
    private struct Chain {
        var destination: SocketAddress
        var first: Int32
        var last: Int32
        var owner: Int
    }

    private struct Entry {
        var offset: Int32
        var next: Int32
    }

    private let region: Range<Int>
    private var nextFree: Int
    private var chains: [Chain] = []
    private var entries: [Entry] = []
    // For each link slot its chain in this batch, or -1.
    private var chainOfLink: [Int32] = []

    /// The datagrams by destination; filled by ``makeTrains()``.
    public private(set) var trains = DatagramTrains()

    /// Makes an empty output that generates datagrams in `region` of the arena.
    public init(region: Range<Int>) {
        self.region = region
        nextFree = region.lowerBound
    }

    /// Whether nothing is to be sent.
    public var isEmpty: Bool {
        entries.isEmpty
    }

    /// How many datagrams are to be sent.
    public var count: Int {
        entries.count
    }

    /// How many more may be generated before ``clear()``.
    public var remainingCapacity: Int {
        (region.upperBound - nextFree) / Datagram.byteCount
    }

    /// The place for one generated datagram; `nil` if the region is full.
    public mutating func allocate() -> Int? {
        guard nextFree + Datagram.byteCount <= region.upperBound else { return nil }
        defer { nextFree += Datagram.byteCount }
        return nextFree
    }

    /// Adds the datagram at `offset` for the link in slot `link`.
    public mutating func append(offset: Int, link: Int, destination: SocketAddress) {
        if link >= chainOfLink.count {
            chainOfLink.append(contentsOf: repeatElement(-1, count: link + 1 - chainOfLink.count))
        }
        let entry = Int32(entries.count)
        entries.append(Entry(offset: Int32(offset), next: -1))
        let chain = Int(chainOfLink[link])
        // A link that took the slot over or moved within the batch begins a train of its own.
        if chain >= 0, chains[chain].destination == destination {
            entries[Int(chains[chain].last)].next = entry
            chains[chain].last = entry
        } else {
            chainOfLink[link] = Int32(chains.count)
            chains.append(
                Chain(destination: destination, first: entry, last: entry, owner: link)
            )
        }
    }

    /// Adds the datagram at `offset` for an address that has no link (handshakes).
    public mutating func append(offset: Int, destination: SocketAddress) {
        let entry = Int32(entries.count)
        entries.append(Entry(offset: Int32(offset), next: -1))
        chains.append(Chain(destination: destination, first: entry, last: entry, owner: -1))
    }

    /// Lays ``trains`` out for the shell.
    public mutating func makeTrains() {
        trains.removeAll()
        for chain in chains {
            var entry = chain.first
            while entry >= 0 {
                trains.append(entries[Int(entry)].offset)
                entry = entries[Int(entry)].next
            }
            trains.endTrain(to: chain.destination)
        }
    }

    /// Forgets everything, after it was sent.
    public mutating func clear() {
        for index in chains.indices where chains[index].owner >= 0 {
            chainOfLink[chains[index].owner] = -1
        }
        chains.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        trains.removeAll()
        nextFree = region.lowerBound
    }
}
