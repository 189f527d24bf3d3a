import Base
import EventLoop
import Testing
import UDPTransport

/// A socket with its arena, as tests use it.
struct Peer: ~Copyable, Sendable {
    struct Datagram: Hashable {
        let source: SocketAddress
        let bytes: [UInt8]
    }

    static let datagramByteCount = 1_392
    var socket: UDPSocket
    var runs = ReceivedRuns(capacity: 64)
    private var arena: [UInt8]

    init(_ address: String, _ configure: (inout UDPOptions) -> Void = { _ in }) throws {
        var options = UDPOptions()
        configure(&options)
        socket = try UDPSocket(
            bindingTo: try #require(SocketAddress(address)),
            options: options
        )
        arena = [UInt8](repeating: 0, count: 16 * UDPSocket.slotByteCount)
    }

    var address: SocketAddress { socket.localAddress }

    /// Distinct datagrams, told apart by `seed` and their position.
    static func datagrams(_ count: Int, seed: UInt8) -> [[UInt8]] {
        (0..<count).map { index in
            (0..<datagramByteCount).map { position in
                UInt8(truncatingIfNeeded: position &* 7 &+ index &* 31 &+ position >> 8) ^ seed
            }
        }
    }

    /// Sends `datagrams` to `destination`, laid out one after the other.
    mutating func send(
        _ datagrams: [[UInt8]],
        to destination: SocketAddress,
        now: Instant = MonotonicClock.now()
    ) {
        let size = datagrams.first?.count ?? 1
        var trains = DatagramTrains()
        trains.append(datagrams.indices.map { $0 * size }, to: destination)
        let bytes = Array(datagrams.joined())
        socket.send(trains, datagramByteCount: size, from: bytes.span.bytes, now: now)
    }

    /// One receive into `slots`; the runs of this call, by copy.
    mutating func receive(slots: Range<Int> = 0..<16) throws -> (used: Int, runs: [ReceivedRun]) {
        runs.removeAll()
        // A span of a stored property keeps the whole value to itself: lend a local instead.
        var arena: [UInt8] = []
        swap(&arena, &self.arena)
        defer { swap(&arena, &self.arena) }
        var span = arena.mutableSpan
        var raw = span.mutableBytes
        let used = try socket.receive(into: &raw, slots: slots, runs: &runs)
        return (used, (0..<runs.count).map { runs[$0] })
    }

    /// The datagrams of `run`, in order.
    func datagrams(of run: ReceivedRun) -> [Datagram] {
        (0..<run.datagramCount).map { index in
            let start = index * run.segmentByteCount
            let end = min(start + run.segmentByteCount, run.byteCount)
            return Datagram(
                source: run.source,
                bytes: Array(arena[run.offset + start..<run.offset + end])
            )
        }
    }

    /// Receives until `count` datagrams came, or 5 s passed without one.
    mutating func collect(_ count: Int) throws -> [Datagram] {
        var poller = try Poller()
        try poller.add(socket.descriptor, token: 0)
        var result: [Datagram] = []
        while result.count < count {
            let now = MonotonicClock.now()
            guard try poller.wait(until: now + .seconds(5), now: now) > 0 else { break }
            for run in try receive().runs {
                result += datagrams(of: run)
            }
        }
        return result
    }
}

extension DatagramTrains {
    /// Lays out one train.
    mutating func append(_ offsets: [Int], to destination: SocketAddress) {
        for offset in offsets { append(Int32(offset)) }
        endTrain(to: destination)
    }
}
