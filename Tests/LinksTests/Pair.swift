import Base
import CryptoPrimitives
import Links
import TestSupport
import Testing
import Wire

/// Two ends and the network between them, in virtual time; the same faults for the same seed.
final class Pair {
    /// What the network does to datagrams, in parts of a thousand.
    struct Faults {
        var loss: UInt64 = 0
        var duplicate: UInt64 = 0
        var corrupt: UInt64 = 0
        var delay: TimeSpan = .milliseconds(10)
        var jitterMilliseconds: UInt64 = 0
    }

    /// A datagram as it left.
    struct Sent {
        let source: SocketAddress
        let destination: SocketAddress
        let bytes: [UInt8]
        let time: Instant
    }

    private struct Flight {
        let arrival: Instant
        let number: Int
        let sent: Sent
    }

    static let leftAddress = SocketAddress(ip: IPAddress(v4: 0x0a00_0001), port: 1111)
    static let rightAddress = SocketAddress(ip: IPAddress(v4: 0x0a00_0002), port: 2222)

    let left: End
    let right: End
    var now = Instant.zero + .seconds(1000)
    var faults: Faults
    /// Whether a datagram of this source is lost whatever `faults` says.
    var isCut: (SocketAddress) -> Bool = { _ in false }
    /// Everything sent, in order.
    private(set) var log: [Sent] = []
    private var flights: [Flight] = []
    private var number = 0
    private var random: RandomGenerator

    /// `left` is the one that dials.
    init(
        seed: UInt64 = 1,
        isLeftRelay: Bool = false,
        faults: Faults = Faults(),
        timing: LinkTable.Timing = LinkTable.Timing(),
        linkLimit: Int = 64
    ) throws {
        random = RandomGenerator(testSeed: seed << 8)
        self.faults = faults
        left = try End(
            seed: seed << 8 | 1,
            address: Self.leftAddress,
            isRelay: isLeftRelay,
            timing: timing,
            linkLimit: linkLimit,
            now: now
        )
        right = try End(
            seed: seed << 8 | 2,
            address: Self.rightAddress,
            isRelay: true,
            timing: timing,
            linkLimit: linkLimit,
            now: now
        )
    }

    /// Opens a link from left to right and returns its names at both ends.
    func connect() throws -> (left: LinkID, right: LinkID) {
        let count = right.events.count
        let id = try #require(left.dial(right.target, now: now))
        flush()
        #expect(run(within: .seconds(8)) { self.right.events.count > count })
        guard case .confirmed(let other)? = right.events.last else {
            throw Failure.notConnected
        }
        run(for: .milliseconds(100))
        #expect(left.established.last == id)
        return (id, other)
    }

    enum Failure: Error {
        case notConnected
    }

    /// Puts what the ends have to send on the wire.
    func flush() {
        for end in [left, right] {
            for outgoing in end.drain(now: now) {
                launch(
                    Sent(
                        source: end.address,
                        destination: outgoing.destination,
                        bytes: outgoing.bytes,
                        time: now
                    )
                )
            }
        }
    }

    /// Lets an attacker put `bytes` on the wire under the address `source`.
    func inject(_ bytes: [UInt8], from source: SocketAddress, to end: End) {
        end.receive(bytes, from: source, now: now)
        flush()
    }

    func run(for span: TimeSpan) {
        let end = now + span
        while step(before: end) {}
        now = end
    }

    /// Runs until `isDone`; false if it is not within `span`.
    @discardableResult
    func run(within span: TimeSpan, until isDone: () -> Bool) -> Bool {
        let end = now + span
        flush()
        while !isDone() {
            guard step(before: end) else {
                now = end
                return false
            }
        }
        return true
    }

    /// Goes to the next thing that happens; false if there is none before `end`.
    private func step(before end: Instant) -> Bool {
        flush()
        let next = min(
            flights.first?.arrival ?? .distantFuture,
            left.nextDeadline,
            right.nextDeadline
        )
        guard next < end else { return false }
        now = max(now, next)
        while let flight = flights.first, flight.arrival <= now {
            flights.removeFirst()
            let sent = flight.sent
            for end in [left, right] where end.address == sent.destination {
                end.receive(sent.bytes, from: sent.source, now: now)
            }
        }
        for end in [left, right] where end.nextDeadline <= now { end.advance(to: now) }
        flush()
        return true
    }

    private func launch(_ sent: Sent) {
        log.append(sent)
        guard !random.happens(permille: faults.loss), !isCut(sent.source) else { return }
        let copies = random.happens(permille: faults.duplicate) ? 2 : 1
        for _ in 0..<copies {
            var bytes = sent.bytes
            if random.happens(permille: faults.corrupt) {
                bytes = bytes.flipping(bit: Int(random.next(below: UInt64(bytes.count * 8))))
            }
            let jitter = random.next(below: faults.jitterMilliseconds + 1)
            let flight = Flight(
                arrival: now + faults.delay + .milliseconds(jitter),
                number: number,
                sent: Sent(
                    source: sent.source,
                    destination: sent.destination,
                    bytes: bytes,
                    time: sent.time
                )
            )
            number += 1
            let place = flights.firstIndex {
                ($0.arrival, $0.number) > (flight.arrival, flight.number)
            }
            flights.insert(flight, at: place ?? flights.count)
        }
    }

    /// What left `end` since the log had `start` entries.
    func sent(by end: End, since start: Int) -> [Sent] {
        log[start...].filter { $0.source == end.address }
    }
}

// A failed expectation would otherwise write out every datagram there ever was.
extension Pair: CustomReflectable {
    var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension End: CustomReflectable {
    var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// The state of an end that no datagram of a stranger may change.
struct Footprint: Equatable {
    let linkCount: Int
    let eventCount: Int
    let cellCount: Int
    let deadline: Instant

    init(_ end: End) {
        linkCount = end.table.count
        eventCount = end.events.count
        cellCount = end.cells.count
        deadline = end.nextDeadline
    }
}

/// The header of a cell under test.
func header(_ command: CellCommand, circuit: UInt32 = 7, counter: UInt32 = 9) -> LinkHeader {
    LinkHeader(circuit: CircuitNumber(rawValue: circuit), counter: counter, command: command)
}
