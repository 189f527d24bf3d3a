import Base
import CryptoPrimitives
import Testing

@Suite("Agreeing on keys")
struct KeyAgreementTests {
    struct X25519Vector: Decodable, Sendable {
        let scalar, u, result: Hex
    }

    struct XWingVector: Decodable, Sendable {
        let seed, pk, ct, ss: Hex
    }

    /// The seven points of low order that WireGuard's tests refuse: 0, 1, two of order 8, and p - 1,
    /// p, p + 1.
    static let lowOrderPoints = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]

    @Test("X25519 gives the answers of RFC 7748, points not in canonical form aside")
    func x25519() throws {
        let vectors = try VectorFile<X25519Vector>("x25519").vectors
        #expect(vectors.count == 2)
        for vector in vectors {
            let key = X25519.PrivateKey(vector.scalar.secret)
            var point = vector.u.bytes
            if point[31] & 0x80 != 0 {
                let given = try vector.u.bytes32()
                #expect(throws: CryptoError.invalidPublicKey) { try key.agree(with: given) }
                point[31] &= 0x7f
            }
            let shared = try key.agree(with: #require(Bytes32(point)))
            #expect(shared.exposed == vector.result.bytes)
        }
    }

    @Test("both sides agree, and on nothing a third computes")
    func agreement() throws {
        var random = RandomGenerator(testSeed: 1)
        let keys = (0..<3).map { _ in X25519.PrivateKey(random.secret(byteCount: 32)) }
        let shared = try keys[0].agree(with: keys[1].publicKey)
        #expect(try keys[1].agree(with: keys[0].publicKey).isEqual(to: shared))
        #expect(try !keys[2].agree(with: keys[0].publicKey).isEqual(to: shared))
    }

    @Test("points of low order are refused, with the top bit set too", arguments: lowOrderPoints)
    func lowOrder(hex: String) throws {
        let key = X25519.PrivateKey(Secret(copying: [UInt8](0..<32)))
        var bytes = try #require([UInt8](hex: hex))
        for _ in 0..<2 {
            let point = try #require(Bytes32(bytes))
            #expect(!X25519.isAcceptable(point))
            #expect(throws: CryptoError.invalidPublicKey) { try key.agree(with: point) }
            bytes[31] |= 0x80
        }
    }

    @Test("points from the prime on are refused and the one below is not")
    func canonical() throws {
        let key = X25519.PrivateKey(Secret(copying: [UInt8](0..<32)))
        var bytes = [UInt8](repeating: 0xff, count: 32)
        bytes[31] = 0x7f
        for low in UInt8(0xed)...0xff {
            bytes[0] = low
            let point = try #require(Bytes32(bytes))
            #expect(throws: CryptoError.invalidPublicKey) { try key.agree(with: point) }
        }
        bytes[0] = 0xeb
        #expect(X25519.isAcceptable(try #require(Bytes32(bytes))))
        bytes = [UInt8](repeating: 0, count: 32)
        bytes[0] = 9
        #expect(try key.agree(with: #require(Bytes32(bytes))).exposed == key.publicKey.bytes)
        bytes[31] = 0x80
        #expect(!X25519.isAcceptable(try #require(Bytes32(bytes))))
    }

    @Test("X-Wing gives the answers of its draft on the side of the key's owner")
    func xwing() throws {
        let vectors = try VectorFile<XWingVector>("xwing").vectors
        #expect(vectors.count == 3)
        for vector in vectors {
            let key = try XWing.PrivateKey(seed: vector.seed.secret)
            #expect(key.publicKey == vector.pk.bytes)
            #expect(try key.decapsulate(vector.ct.bytes).exposed == vector.ss.bytes)
        }
    }

    @Test("what is encapsulated to a key comes out, differs each time, and not with another key")
    func xwingRoundTrip() throws {
        var random = RandomGenerator(testSeed: 2)
        let key = try XWing.PrivateKey(seed: random.secret(byteCount: 32))
        let stranger = try XWing.PrivateKey(seed: random.secret(byteCount: 32))
        let first = try XWing.encapsulate(to: key.publicKey)
        let second = try XWing.encapsulate(to: key.publicKey)
        #expect(first.ciphertext.count == XWing.ciphertextByteCount)
        #expect(first.sharedSecret.byteCount == 32)
        #expect(first.ciphertext != second.ciphertext)
        #expect(!first.sharedSecret.isEqual(to: second.sharedSecret))
        #expect(try key.decapsulate(first.ciphertext).isEqual(to: first.sharedSecret))
        #expect(try !stranger.decapsulate(first.ciphertext).isEqual(to: first.sharedSecret))
    }

    @Test(
        "a changed X-Wing ciphertext gives another secret",
        arguments: [0, 500, 1087, 1088, 1119]
    )
    func xwingTampered(offset: Int) throws {
        let vector = try #require(VectorFile<XWingVector>("xwing").vectors.first)
        let key = try XWing.PrivateKey(seed: vector.seed.secret)
        var ciphertext = vector.ct.bytes
        ciphertext[offset] ^= 1
        #expect(try key.decapsulate(ciphertext).exposed != vector.ss.bytes)
    }

    @Test("X-Wing refuses seeds, keys and ciphertexts of a wrong length")
    func xwingLengths() throws {
        let vector = try #require(VectorFile<XWingVector>("xwing").vectors.first)
        let key = try XWing.PrivateKey(seed: vector.seed.secret)
        for count in [0, 31, 33, 64] {
            #expect(throws: CryptoError.invalidKeyLength(byteCount: count)) {
                try XWing.PrivateKey(seed: Secret(copying: [UInt8](repeating: 1, count: count)))
            }
        }
        for bytes in [[], vector.ct.bytes.dropLast(), vector.ct.bytes + [0]] {
            #expect(throws: CryptoError.invalidCiphertext) { try key.decapsulate(Array(bytes)) }
        }
        for bytes in [[], vector.pk.bytes.dropLast(), vector.pk.bytes + [0]] {
            #expect(throws: CryptoError.invalidPublicKey) {
                try XWing.encapsulate(to: Array(bytes))
            }
        }
    }

    @Test("X-Wing refuses an ML-KEM key that is not reduced")
    func xwingNotReduced() throws {
        let vector = try #require(VectorFile<XWingVector>("xwing").vectors.first)
        var publicKey = vector.pk.bytes
        publicKey[0] = 0xff
        publicKey[1] |= 0x0f
        #expect(throws: CryptoError.invalidPublicKey) { try XWing.encapsulate(to: publicKey) }
    }

    @Test("X-Wing refuses a low-order point in key and ciphertext", arguments: lowOrderPoints)
    func xwingLowOrder(hex: String) throws {
        let vector = try #require(VectorFile<XWingVector>("xwing").vectors.first)
        let key = try XWing.PrivateKey(seed: vector.seed.secret)
        let point = try #require([UInt8](hex: hex))
        #expect(throws: CryptoError.invalidPublicKey) {
            try XWing.encapsulate(to: vector.pk.bytes.dropLast(32) + point)
        }
        #expect(throws: CryptoError.invalidCiphertext) {
            try key.decapsulate(vector.ct.bytes.dropLast(32) + point)
        }
    }
}
