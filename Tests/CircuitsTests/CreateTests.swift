import Base
import Circuits
import CryptoPrimitives
import Onion
import TestSupport
import Testing
import Wire

/// A relay that answers CREATE, and clients' handshakes with it.
struct CreateBench {
    let network = NetworkID(.zero)
    let relay: NodeID
    let key: XWing.PrivateKey

    init(_ number: UInt64 = 0) throws {
        key = try XWing.PrivateKey(seed: .numbered(1000 + number))
        relay = NodeID(SHA256.digest(Array("relay \(number)".utf8)))
    }

    var hopTarget: HopTarget {
        HopTarget(network: network, relay: relay, publicKey: key.publicKey)
    }

    var target: HandshakeTarget {
        HandshakeTarget(
            role: .circuit,
            network: network,
            relay: relay,
            publicKey: key.publicKey
        )
    }

    func handshake(_ message: [UInt8], _ number: UInt64 = 1) throws -> ClientHandshake {
        try ClientHandshake.start(with: target, ephemeral: .numbered(2000 + number)) { _ in
            message
        }
    }

    func work(_ body: CreateBody, policy: CreatePolicy = Self.policy()) -> CreateWork {
        CreateWork(
            body: body,
            target: target,
            key: key,
            ephemeral: .numbered(3000),
            policy: policy
        )
    }

    static func policy(
        minute: UInt32 = 100,
        uncleanBootMinute: UInt32 = 0,
        canJudgeReplays: Bool = true
    ) -> CreatePolicy {
        var answer = ServerMessage(status: .accepted)
        answer.minute = minute
        answer.consensusDigest = [UInt8](0..<16)
        return CreatePolicy(
            minute: minute,
            uncleanBootMinute: uncleanBootMinute,
            canJudgeReplays: canJudgeReplays,
            answer: answer
        )
    }
}

@Suite("Answering CREATE")
struct CreateTests {
    @Test(
        "a mode the hop has no part in is refused, as is a slot there is not",
        arguments: [
            (1, 1, 0), (3, 1, 0), (3, 2, 1_000), (2, 2, 999), (2, 0, 1_000),
        ] as [(UInt8, UInt8, UInt16)]
    )
    func mode(hop: UInt8, mode: UInt8, slot: UInt16) throws {
        let bench = try CreateBench()
        var message = ClientMessage(hop: hop, minute: 100)
        message.mode = mode
        message.slot = slot
        let body = try bench.handshake(message.encoded).body
        #expect(throws: HandshakeError.self) { try bench.work(body).run() }
    }

    @Test(
        "guard and middle of mix, and the middle of padded, are told so",
        arguments: [(1, 2, 1_000), (2, 2, 250), (2, 1, 0)] as [(UInt8, UInt8, UInt16)]
    )
    func shape(hop: UInt8, mode: UInt8, slot: UInt16) throws {
        let bench = try CreateBench()
        var message = ClientMessage(hop: hop, minute: 100)
        message.mode = mode
        message.slot = slot
        let result = try bench.work(try bench.handshake(message.encoded).body).run()
        #expect(result.message.shape == (try TrafficShape(mode: mode, slot: slot)))
    }

    @Test("client and relay end with the same keys, and the client reads what the relay says")
    func agree() throws {
        let bench = try CreateBench()
        for hop in HopIndex.all {
            let message = ClientMessage(hop: hop.rawValue, minute: 100)
            let client = try bench.handshake(message.encoded, UInt64(hop.rawValue))
            let result = try bench.work(client.body).run()
            #expect(result.message == message)
            #expect(result.early?.forward.isEqual(to: client.early.forward) == true)
            let finished = try client.finish(result.answer)
            #expect(finished.keys.forward.isEqual(to: result.keys.forward))
            #expect(finished.keys.backward.isEqual(to: result.keys.backward))
            let said = try ServerMessage(parsing: finished.message)
            #expect(said.status == .accepted)
            #expect(said.minute == 100)
            #expect(said.consensusDigest == [UInt8](0..<16))
        }
    }

    @Test("early data is taken within two minutes either way, and never with minute 0")
    func minuteWindow() throws {
        let bench = try CreateBench()
        for minute in [98, 99, 100, 101, 102, 97, 103, 0, 1, .max] as [UInt32] {
            let client = try bench.handshake(ClientMessage(hop: 1, minute: minute).encoded)
            let result = try bench.work(client.body).run()
            let isTaken = (98...102).contains(minute)
            #expect((result.early != nil) == isTaken, "minute \(minute)")
            let said = try ServerMessage(parsing: client.finish(result.answer).message)
            #expect(said.status == (isTaken ? .accepted : .earlyRefused))
        }
        // At the ends of the clock nothing overflows.
        #expect(!CreateBench.policy(minute: 1).takesEarly(clientMinute: 0))
        #expect(CreateBench.policy(minute: 1).takesEarly(clientMinute: 3))
        #expect(CreateBench.policy(minute: .max).takesEarly(clientMinute: .max - 1))
        #expect(!CreateBench.policy(minute: .max).takesEarly(clientMinute: 1))
        #expect(!CreateBench.policy(minute: 0).takesEarly(clientMinute: .max))
    }

    @Test("early data is refused, not the circuit, where replays cannot be judged")
    func cannotJudge() throws {
        let bench = try CreateBench()
        let client = try bench.handshake(ClientMessage(hop: 1, minute: 100).encoded)
        let policies = [
            CreateBench.policy(canJudgeReplays: false),
            CreateBench.policy(uncleanBootMinute: 98),
            CreateBench.policy(uncleanBootMinute: 100),
        ]
        for policy in policies {
            let result = try bench.work(client.body, policy: policy).run()
            #expect(result.early == nil)
            #expect(throws: Never.self) { try client.finish(result.answer) }
        }
        let policy = CreateBench.policy(uncleanBootMinute: 97)
        #expect(try bench.work(client.body, policy: policy).run().early != nil)
    }

    @Test("a message that is none, or for no hop, is malformed")
    func malformed() throws {
        let bench = try CreateBench()
        var unknownVersion = ClientMessage(hop: 1, minute: 1).encoded
        unknownVersion[0] = 2
        var unknownSuite = ClientMessage(hop: 1, minute: 1).encoded
        unknownSuite[2] = 2
        let messages = [
            ClientMessage(hop: 0, minute: 1).encoded, unknownVersion, unknownSuite,
            [UInt8](repeating: 1, count: 31),
        ]
        for message in messages {
            let body = try bench.handshake(message).body
            do {
                _ = try bench.work(body).run()
                Issue.record("took \(message)")
            } catch HandshakeError.malformed {
            }
        }
    }

    @Test("a link's handshake is no circuit's")
    func role() throws {
        let bench = try CreateBench()
        let link = HandshakeTarget(
            role: .link,
            network: bench.network,
            relay: bench.relay,
            publicKey: bench.key.publicKey
        )
        let message = ClientMessage(hop: 1, minute: 100).encoded
        let body = try ClientHandshake.start(with: link, ephemeral: .numbered(1)) { _ in message }
            .body
        #expect(throws: HandshakeError.notAuthentic) { try bench.work(body).run() }
    }

    @Test("row 9: a CREATE seen within five minutes is known again, by key and ciphertext alone")
    func filter() throws {
        let bench = try CreateBench()
        var random = RandomGenerator(testSeed: 1)
        var filter = CreateFilter(random: &random)
        var body = try bench.handshake(ClientMessage(hop: 1, minute: 100).encoded).body
        let mark = filter.mark(of: body)
        #expect(!filter.contains(mark))
        filter.insert(mark, minute: 100)
        body.keyID ^= 1
        body.sealedMessage = []
        #expect(filter.mark(of: body) == mark)
        body.ciphertext[5] ^= 1
        #expect(filter.mark(of: body) != mark)
        for minute in 101...104 as ClosedRange<UInt32> {
            filter.insert(UInt64(minute), minute: minute)
            #expect(filter.contains(mark))
        }
        // Any CREATE still within the window of a minute was seen at most four minutes ago.
        filter.insert(1, minute: 105)
        #expect(!filter.contains(mark))
        var other = CreateFilter(random: &random)
        #expect(other.mark(of: body) != filter.mark(of: body))
        other.insert(1, minute: 1)
    }

    @Test("a full minute keeps no more marks, and forbids early data until it is forgotten")
    func fullMinute() {
        var random = RandomGenerator(testSeed: 2)
        var filter = CreateFilter(bucketLimit: 10, random: &random)
        for mark in 0..<9 as Range<UInt64> { filter.insert(mark, minute: 100) }
        #expect(filter.canJudge(minute: 100))
        filter.insert(9, minute: 100)
        #expect(!filter.canJudge(minute: 100))
        // This one came while there was no room: its replay cannot be told from a new one.
        filter.insert(77, minute: 100)
        #expect(!filter.contains(77))
        for minute in 100...104 as ClosedRange<UInt32> {
            #expect(!filter.canJudge(minute: minute), "minute \(minute)")
        }
        #expect(filter.canJudge(minute: 105))
        filter.insert(1000, minute: 103)
        #expect(!filter.canJudge(minute: 103))
        // A mark entered twice takes one place.
        for _ in 0..<20 { filter.insert(2000, minute: 110) }
        #expect(filter.canJudge(minute: 110))
    }

    @Test("row 8: marks stored at a clean stop tell replays after the next start")
    func stored() throws {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 3, count: 32)))
        var filter = CreateFilter(random: &random)
        let body = CreateBody(
            keyID: 1,
            publicKey: random.bytes32(),
            ciphertext: random.bytes(CreateBody.ciphertextByteCount),
            sealedMessage: random.bytes(48)
        )
        filter.insert(filter.mark(of: body), minute: 100)
        let bytes = filter.encoded()
        let restored = try CreateFilter(parsing: bytes)
        #expect(restored.contains(restored.mark(of: body)))
        #expect(restored.encoded() == bytes)
        for count in 0..<bytes.count {
            #expect(throws: WireError.self) {
                try CreateFilter(parsing: Array(bytes[..<count]))
            }
        }
    }
}
