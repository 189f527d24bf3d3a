import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

@testable import Onion

/// A relay's keys and a client that knows them.
struct HandshakeBench {
    let key: XWing.PrivateKey
    let network: NetworkID
    let relay: NodeID
    let role: HandshakeRole
    fileprivate let seed: UInt64
    fileprivate var drawn: UInt64 = 0

    init(seed: UInt64, role: HandshakeRole = .circuit) throws {
        var random = RandomGenerator(testSeed: seed)
        key = try XWing.PrivateKey(seed: random.secret(byteCount: 32))
        network = NetworkID(random.bytes32())
        relay = NodeID(random.bytes32())
        self.role = role
        self.seed = seed
    }

    var target: HandshakeTarget {
        HandshakeTarget(role: role, network: network, relay: relay, publicKey: key.publicKey)
    }
}

extension HandshakeBench {
    mutating func secret() -> Secret {
        drawn += 1
        return .numbered(seed << 32 | drawn)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        drawn += 1
        var random = RandomGenerator(testSeed: seed << 32 | drawn)
        return random.bytes(count)
    }

    mutating func start(
        _ message: [UInt8] = ClientMessage(hop: 1, minute: 7).encoded
    ) throws -> ClientHandshake {
        try ClientHandshake.start(with: target, ephemeral: secret()) { _ in
            message
        }
    }

    func open(_ body: CreateBody) throws(HandshakeError) -> ServerHandshake {
        try ServerHandshake(opening: body, target: target, key: key)
    }

    mutating func respond(
        to body: CreateBody,
        with message: [UInt8] = ServerMessage(status: .accepted).encoded
    ) throws -> (answer: CreatedBody, keys: HandshakeKeys) {
        try open(body).respond(with: message, ephemeral: secret())
    }
}

/// Public keys no handshake may accept: the seven of WireGuard's tests, which are of low order or
/// not in canonical form, and the prime itself.
let refusedPoints = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]

@Suite("The handshake between honest and dishonest ends")
struct HandshakeTests {
    @Test(
        "both ends hold the same keys and read each other's message",
        arguments: 0..<20 as Range<UInt64>
    )
    func agree(seed: UInt64) throws {
        var bench = try HandshakeBench(seed: seed, role: seed.isMultiple(of: 2) ? .circuit : .link)
        let said = bench.bytes(bench.role == .circuit ? 32 : 128)
        let answered = bench.bytes(64)
        let client = try bench.start(said)
        let body = try CreateBody(parsing: client.body.encoded)
        let server = try bench.open(body)
        #expect(server.message == said)
        #expect(server.signedTranscript == client.signedTranscript)
        #expect(server.early.forward.isEqual(to: client.early.forward))
        #expect(server.early.backward.isEqual(to: client.early.backward))
        let (answer, serverKeys) = try bench.respond(to: body, with: answered)
        let (keys, message) = try client.finish(CreatedBody(parsing: answer.encoded))
        #expect(message == answered)
        #expect(keys.forward.isEqual(to: serverKeys.forward))
        #expect(keys.backward.isEqual(to: serverKeys.backward))
        #expect(keys.exporter.isEqual(to: serverKeys.exporter))
        #expect(keys.transcript == serverKeys.transcript)
        let all = [
            keys.forward, keys.backward, keys.exporter, client.early.forward,
            client.early.backward,
        ]
        #expect(Set(all.map(\.exposed)).count == all.count)
    }

    @Test("two handshakes with one relay share no key")
    func fresh() throws {
        var bench = try HandshakeBench(seed: 1)
        let first = try bench.start()
        let second = try bench.start()
        let (firstKeys, secondKeys) = (
            try bench.respond(to: first.body).keys, try bench.respond(to: second.body).keys
        )
        #expect(!firstKeys.forward.isEqual(to: secondKeys.forward))
        #expect(!first.early.forward.isEqual(to: second.early.forward))
    }

    @Test("a change of any byte of CREATE is refused")
    func tamperedCreate() throws {
        var bench = try HandshakeBench(seed: 2)
        let bytes = try bench.start().body.encoded
        for index in bytes.indices {
            let body = try CreateBody(parsing: bytes.flipping(bit: index * 8 + index % 8))
            #expect(throws: HandshakeError.self, "byte \(index)") { try bench.open(body) }
        }
        #expect(throws: Never.self) { try bench.open(CreateBody(parsing: bytes)) }
    }

    @Test("a change of any bit of CREATED is refused, and the true answer still counts")
    func tamperedCreated() throws {
        var bench = try HandshakeBench(seed: 3)
        let client = try bench.start()
        let bytes = try bench.respond(to: client.body).answer.encoded
        for bit in 0..<bytes.count * 8 {
            let answer = try CreatedBody(parsing: bytes.flipping(bit: bit))
            #expect(throws: HandshakeError.self, "bit \(bit)") { try client.finish(answer) }
        }
        #expect(throws: Never.self) { try client.finish(CreatedBody(parsing: bytes)) }
    }

    @Test("a handshake for another relay, network, role or key is refused")
    func otherTarget() throws {
        var bench = try HandshakeBench(seed: 4)
        var other = try HandshakeBench(seed: 5)
        let targets = [
            "relay": HandshakeTarget(
                role: .circuit,
                network: bench.network,
                relay: other.relay,
                publicKey: bench.key.publicKey
            ),
            "network": HandshakeTarget(
                role: .circuit,
                network: other.network,
                relay: bench.relay,
                publicKey: bench.key.publicKey
            ),
            "role": HandshakeTarget(
                role: .link,
                network: bench.network,
                relay: bench.relay,
                publicKey: bench.key.publicKey
            ),
        ]
        for (name, target) in targets.sorted(by: { $0.key < $1.key }) {
            let body = try ClientHandshake.start(
                with: target,
                ephemeral: bench.secret()
            ) { _ in [UInt8](repeating: 0, count: 32) }.body
            #expect(throws: HandshakeError.notAuthentic, "other \(name)") { try bench.open(body) }
        }
        let foreign = try other.start().body
        #expect(throws: HandshakeError.invalidKey) { try bench.open(foreign) }
        var renamed = foreign
        renamed.keyID = bench.target.keyID
        #expect(throws: HandshakeError.notAuthentic) { try bench.open(renamed) }
    }

    @Test("an answer to another handshake is refused")
    func otherAnswer() throws {
        var bench = try HandshakeBench(seed: 6)
        let first = try bench.start()
        let second = try bench.start()
        let answer = try bench.respond(to: second.body).answer
        #expect(throws: HandshakeError.notAuthentic) { try first.finish(answer) }
    }

    @Test(
        "row 13: a relay refuses a client's key of low order or another form",
        arguments: refusedPoints
    )
    func lowOrderClient(hex: String) throws {
        var bench = try HandshakeBench(seed: 7)
        // A client that plays by the rules but for its key: the message opens, the answer must not.
        let honest = try bench.start()
        let kem = try XWing.encapsulate(to: bench.key.publicKey)
        let point = try #require(Bytes32(hex: hex))
        let h1 = SHA256.digest(bench.target.transcript.bytes, point.bytes, kem.ciphertext)
        let first = HKDF.extract(salt: h1.bytes, inputKeyMaterial: kem.sharedSecret)
        let sealed = SingleUseAEAD.seal(
            ClientMessage(hop: 1, minute: 7).encoded,
            key: KeySchedule.messageKey(first),
            authenticating: h1.bytes
        )
        let body = CreateBody(
            keyID: honest.body.keyID,
            publicKey: point,
            ciphertext: kem.ciphertext,
            sealedMessage: sealed
        )
        let server = try bench.open(body)
        let ephemeral = bench.secret()
        #expect(throws: HandshakeError.weakKey) {
            try server.respond(with: [UInt8](repeating: 0, count: 64), ephemeral: ephemeral)
        }
    }

    @Test(
        "row 13: a client refuses a relay's key of low order or another form",
        arguments: refusedPoints
    )
    func lowOrderServer(hex: String) throws {
        var bench = try HandshakeBench(seed: 8)
        let client = try bench.start()
        var answer = try bench.respond(to: client.body).answer
        answer.publicKey = try #require(Bytes32(hex: hex))
        #expect(throws: HandshakeError.weakKey) { try client.finish(answer) }
    }

    @Test(
        "row 13: an X-Wing key or ciphertext with a refused X25519 part is refused",
        arguments: refusedPoints
    )
    func lowOrderEncapsulation(hex: String) throws {
        var bench = try HandshakeBench(seed: 9)
        let point = try #require([UInt8](hex: hex))
        let badKey = Array(bench.key.publicKey.dropLast(32)) + point
        let badTarget = HandshakeTarget(
            role: .circuit,
            network: bench.network,
            relay: bench.relay,
            publicKey: badKey
        )
        #expect(throws: HandshakeError.invalidKey) {
            try ClientHandshake.start(with: badTarget, ephemeral: .numbered(1)) { _ in [] }
        }
        var body = try bench.start().body
        body.ciphertext = Array(body.ciphertext.dropLast(32)) + point
        #expect(throws: HandshakeError.invalidKey) { try bench.open(body) }
    }

    @Test("a public key that is none starts nothing")
    func noKey() {
        for byteCount in [0, 32, 1215, 1217] {
            let target = HandshakeTarget(
                role: .circuit,
                network: NetworkID(.zero),
                relay: NodeID(.zero),
                publicKey: [UInt8](repeating: 9, count: byteCount)
            )
            #expect(throws: HandshakeError.invalidKey) {
                try ClientHandshake.start(with: target, ephemeral: .numbered(1)) { _ in [] }
            }
        }
    }
}
