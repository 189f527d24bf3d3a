import Base
import Circuits
import CryptoPrimitives
import TestSupport
import Testing
import Wire

/// Two ends of a conversation over a network that loses, doubles and reorders records.
private struct Conversation {
    struct Flight {
        let arrival: Instant
        let number: Int
        let toHop: Bool
        let record: [UInt8]
    }

    var now = Instant.zero + .seconds(10)
    var client: ControlChannel
    var hop: ControlChannel
    var loss: UInt64 = 0
    var duplicate: UInt64 = 0
    var jitterMilliseconds: UInt64 = 0
    var isCut = false
    var atHop: [ControlChannel.Message] = []
    var atClient: [ControlChannel.Message] = []
    var recordCount = 0
    private var flights: [Flight] = []

    init(hop: HopIndex = .third) {
        client = ControlChannel(hop: hop)
        self.hop = ControlChannel(hop: hop)
    }

    mutating func run(for span: TimeSpan, random: inout RandomGenerator) throws {
        let end = now + span
        while true {
            flush(random: &random)
            let next = min(
                flights.map(\.arrival).min() ?? .distantFuture,
                client.nextDeadline,
                hop.nextDeadline
            )
            guard next < end else { break }
            now = max(now, next)
            let due = flights.filter { $0.arrival <= now }.sorted {
                ($0.arrival, $0.number) < ($1.arrival, $1.number)
            }
            flights.removeAll { $0.arrival <= now }
            for flight in due {
                let record = try ControlRecord(parsing: flight.record)
                if flight.toHop {
                    atHop += try hop.receive(record, now: now)
                } else {
                    atClient += try client.receive(record, now: now)
                }
            }
        }
        now = end
    }

    private mutating func flush(random: inout RandomGenerator) {
        while let record = client.nextRecord(now: now) { launch(record, true, &random) }
        while let record = hop.nextRecord(now: now) { launch(record, false, &random) }
    }

    private mutating func launch(
        _ record: [UInt8],
        _ toHop: Bool,
        _ random: inout RandomGenerator
    ) {
        recordCount += 1
        guard !isCut, !random.happens(permille: loss) else { return }
        for _ in 0..<(random.happens(permille: duplicate) ? 2 : 1) {
            let jitter = random.next(below: jitterMilliseconds + 1)
            flights.append(
                Flight(
                    arrival: now + .milliseconds(20 + jitter),
                    number: recordCount,
                    toHop: toHop,
                    record: record
                )
            )
        }
    }
}

private func echo(_ nonce: UInt64) -> ControlMessage {
    .echo(isAnswer: false, nonce: nonce)
}

/// One end, called from within expectations.
private final class Speaker {
    private var channel: ControlChannel

    init(hop: HopIndex) {
        channel = ControlChannel(hop: hop)
    }

    var hasFailed: Bool { channel.hasFailed }
    var nextDeadline: Instant { channel.nextDeadline }

    func send(_ message: ControlMessage) throws(ControlChannel.SendError) {
        try channel.send(message)
    }

    func nextRecord(now: Instant) -> [UInt8]? {
        channel.nextRecord(now: now)
    }

    func receive(
        _ record: ControlRecord,
        now: Instant
    ) throws(WireError) -> [ControlChannel.Message] {
        try channel.receive(record, now: now)
    }
}

@Suite("The reliable conversation with a hop")
struct ControlChannelTests {
    @Test(
        "row 6: over loss, duplicates and reordering all messages come once and in order",
        arguments: 0..<60 as Range<UInt64>
    )
    func faults(seed: UInt64) throws {
        var random = RandomGenerator(testSeed: seed)
        var pair = Conversation()
        pair.loss = seed % 3 * 120
        pair.duplicate = seed % 2 * 300
        pair.jitterMilliseconds = seed % 5 * 90
        var said: [[UInt8]] = []
        var answered: [[UInt8]] = []
        for _ in 0..<60 {
            let request: ControlMessage =
                random.happens(permille: 500)
                ? echo(random.next())
                : .extend(next: NodeID(random.bytes32()), create: random.bytes(1208))
            let answer = ControlMessage.echo(isAnswer: true, nonce: random.next())
            if (try? pair.client.send(request)) != nil { said.append(request.encoded) }
            if (try? pair.hop.send(answer)) != nil { answered.append(answer.encoded) }
            try pair.run(for: .milliseconds(random.next(below: 200)), random: &random)
        }
        try pair.run(for: .seconds(60), random: &random)
        if pair.client.hasFailed || pair.hop.hasFailed {
            // What came, came once and in order all the same.
            #expect(pair.loss == 240)
            #expect(pair.atHop.map(\.bytes) == Array(said.prefix(pair.atHop.count)))
            #expect(pair.atClient.map(\.bytes) == Array(answered.prefix(pair.atClient.count)))
            return
        }
        #expect(pair.atHop.map(\.bytes) == said)
        #expect(pair.atClient.map(\.bytes) == answered)
        #expect(pair.client.nextDeadline == .distantFuture)
        #expect(pair.hop.nextDeadline == .distantFuture)
    }

    @Test("a message longer than a cell goes in pieces and comes out whole, at each hop")
    func pieces() throws {
        for hop in HopIndex.all {
            var random = RandomGenerator(testSeed: UInt64(hop.rawValue))
            var pair = Conversation(hop: hop)
            pair.loss = 100
            pair.jitterMilliseconds = 100
            // The only message without a bound of its own: what it says is not looked at here.
            let long = ControlMessage.extend(next: NodeID(.zero), create: random.bytes(4064))
            #expect(long.encoded.count == 4096)
            try pair.client.send(long)
            try pair.client.send(echo(1))
            try pair.run(for: .seconds(20), random: &random)
            #expect(pair.atHop.map(\.bytes) == [long.encoded, echo(1).encoded])
            #expect(pair.atHop.map(\.type) == [1, 8])
        }
    }

    @Test("every record fits the cell of its hop")
    func fits() throws {
        for hop in HopIndex.all {
            let channel = Speaker(hop: hop)
            try channel.send(
                .extend(next: NodeID(.zero), create: [UInt8](repeating: 1, count: 4000))
            )
            var count = 0
            while let record = channel.nextRecord(now: .zero) {
                let payload = RecordPayload.make(kind: 16, body: record, hop: hop)
                #expect(payload.count == OnionLayer.innerByteCount(at: hop))
                count += 1
            }
            #expect(count == 4)
        }
        // An EXTEND is one record even in the smallest cell.
        let channel = Speaker(hop: .third)
        try channel.send(
            .extend(next: NodeID(.zero), create: [UInt8](repeating: 1, count: 1208))
        )
        #expect(channel.nextRecord(now: .zero) != nil)
        #expect(channel.nextRecord(now: .zero) == nil)
    }

    @Test("32 pieces wait and no more; a message beyond 4 KiB is not taken")
    func bounds() throws {
        let channel = Speaker(hop: .first)
        #expect(throws: ControlChannel.SendError.tooLong) {
            try channel.send(
                .extend(next: NodeID(.zero), create: [UInt8](repeating: 0, count: 4065))
            )
        }
        for nonce in 0..<32 as Range<UInt64> { try channel.send(echo(nonce)) }
        #expect(throws: ControlChannel.SendError.full) { try channel.send(echo(32)) }
    }

    @Test("eight records are on their way at a time")
    func window() throws {
        let channel = Speaker(hop: .first)
        for nonce in 0..<20 as Range<UInt64> { try channel.send(echo(nonce)) }
        var sequences: [UInt16] = []
        while let record = channel.nextRecord(now: .zero) {
            sequences.append(try ControlRecord(parsing: record).sequence)
        }
        #expect(sequences == Array(0..<8))
        // 0 and 1 acknowledged in order, 4 and 7 out of it: the window moves by two.
        let ack = ControlRecord(
            sequence: 0,
            acknowledged: 2,
            acknowledgedBits: 1 << 1 | 1 << 4,
            type: 0,
            message: []
        )
        #expect(try channel.receive(ack, now: .zero + .milliseconds(10)).isEmpty)
        sequences = []
        while let record = channel.nextRecord(now: .zero + .milliseconds(10)) {
            sequences.append(try ControlRecord(parsing: record).sequence)
        }
        #expect(sequences == [8, 9])
        // Of those unanswered, the acknowledged ones are not repeated.
        sequences = []
        while let record = channel.nextRecord(now: .zero + .seconds(2)) {
            sequences.append(try ControlRecord(parsing: record).sequence)
        }
        #expect(sequences == [2, 3, 5, 6, 8, 9])
    }

    @Test("acknowledgements say what came: the next one waited for and sixteen bits behind it")
    func acknowledgementBits() throws {
        let channel = Speaker(hop: .first)
        func piece(_ sequence: UInt16) -> ControlRecord {
            ControlRecord(
                sequence: sequence,
                acknowledged: 0,
                acknowledgedBits: 0,
                type: 8,
                message: echo(UInt64(sequence)).encoded
            )
        }
        for sequence in [0, 2, 3, 15] as [UInt16] {
            _ = try channel.receive(piece(sequence), now: .zero)
        }
        #expect(channel.nextRecord(now: .zero) == nil)
        let due = Instant.zero + .milliseconds(20)
        #expect(channel.nextDeadline == due)
        let record = try ControlRecord(parsing: try #require(channel.nextRecord(now: due)))
        #expect(record.type == 0)
        #expect(record.acknowledged == 1)
        #expect(record.acknowledgedBits == 1 << 0 | 1 << 1 | 1 << 13)
        #expect(channel.nextRecord(now: due) == nil)
        // Too far ahead, and too far behind: not kept, but acknowledged again.
        #expect(try channel.receive(piece(17), now: due).isEmpty)
        #expect(try channel.receive(piece(0), now: due).isEmpty)
        let later = due + .milliseconds(20)
        let again = try ControlRecord(parsing: try #require(channel.nextRecord(now: later)))
        #expect(again.acknowledgedBits == record.acknowledgedBits)
        #expect(try channel.receive(piece(1), now: later).count == 3)
    }

    @Test("five tries, each waiting twice as long, then the conversation has failed")
    func failure() throws {
        let channel = Speaker(hop: .first)
        try channel.send(echo(1))
        var times: [UInt64] = []
        var now = Instant.zero
        while !channel.hasFailed {
            if channel.nextRecord(now: now) != nil { times.append(now.nanoseconds / 1_000_000) }
            try #require(channel.nextDeadline != .distantFuture || channel.hasFailed)
            now = channel.nextDeadline
            if times.count == 5 { _ = channel.nextRecord(now: now) }
            try #require(times.count <= 5)
        }
        #expect(times == [0, 300, 900, 2100, 4500])
    }

    @Test("a short round trip shortens the wait, to 200 ms at least")
    func roundTrip() throws {
        var random = RandomGenerator(testSeed: 1)
        var pair = Conversation()
        for nonce in 0..<10 as Range<UInt64> {
            try pair.client.send(echo(nonce))
            try pair.run(for: .milliseconds(200), random: &random)
        }
        pair.isCut = true
        try pair.client.send(echo(11))
        let sent = pair.now
        #expect(pair.client.nextRecord(now: sent) != nil)
        #expect(pair.client.nextDeadline == sent + .milliseconds(200))
    }

    @Test("what a hop dropped is said again at once, and answered once")
    func repeatAll() throws {
        var random = RandomGenerator(testSeed: 2)
        var pair = Conversation()
        pair.isCut = true
        try pair.client.send(echo(1))
        try pair.client.send(echo(2))
        try pair.run(for: .milliseconds(100), random: &random)
        pair.isCut = false
        pair.client.repeatAll(now: pair.now)
        try pair.run(for: .milliseconds(50), random: &random)
        #expect(pair.atHop.map(\.bytes) == [echo(1).encoded, echo(2).encoded])
    }

    @Test("numbers wrap after 65,535 without a fault")
    func wrap() throws {
        let client = Speaker(hop: .first)
        let hop = Speaker(hop: .first)
        var now = Instant.zero
        for nonce in 0..<66_000 as Range<UInt64> {
            try client.send(echo(nonce))
            let record = try #require(client.nextRecord(now: now))
            let messages = try hop.receive(ControlRecord(parsing: record), now: now)
            #expect(messages.map(\.bytes) == [echo(nonce).encoded])
            now = now + .milliseconds(20)
            let answer = try #require(hop.nextRecord(now: now))
            _ = try client.receive(ControlRecord(parsing: answer), now: now)
        }
        #expect(client.nextDeadline == .distantFuture)
    }

    @Test("row 16: a message beyond 4 KiB or of mixed types is a fault, and nothing is kept of it")
    func tooLong() throws {
        let channel = Speaker(hop: .first)
        func piece(_ sequence: UInt16, type: UInt8, goesOn: Bool, _ count: Int) -> ControlRecord {
            ControlRecord(
                sequence: sequence,
                acknowledged: 0,
                acknowledgedBits: 0,
                type: type,
                goesOn: goesOn,
                message: [UInt8](repeating: 1, count: count)
            )
        }
        for sequence in 0..<3 as Range<UInt16> {
            #expect(
                try channel.receive(piece(sequence, type: 1, goesOn: true, 1300), now: .zero)
                    .isEmpty
            )
        }
        #expect(throws: WireError.self) {
            try channel.receive(piece(3, type: 1, goesOn: true, 1300), now: .zero)
        }
        // Had it been kept, this one would be too long as well.
        #expect(
            try channel.receive(piece(4, type: 8, goesOn: false, 4), now: .zero).map(\.type) == [8]
        )
        _ = try channel.receive(piece(5, type: 1, goesOn: true, 10), now: .zero)
        #expect(throws: WireError.self) {
            try channel.receive(piece(6, type: 8, goesOn: false, 10), now: .zero)
        }
    }

    @Test("an acknowledgement of what was never sent changes nothing")
    func falseAcknowledgement() throws {
        let channel = Speaker(hop: .first)
        try channel.send(echo(1))
        for acknowledged in [1, 9, 32, 40_000] as [UInt16] {
            _ = try channel.receive(
                ControlRecord(
                    sequence: 0,
                    acknowledged: acknowledged,
                    acknowledgedBits: 0xffff,
                    type: 0,
                    message: []
                ),
                now: .zero
            )
        }
        #expect(channel.nextRecord(now: .zero) != nil)
    }
}
