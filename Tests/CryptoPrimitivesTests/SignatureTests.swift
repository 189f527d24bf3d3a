import Base
import CryptoPrimitives
import Testing

@Suite("Signatures and cookies")
struct SignatureTests {
    struct Ed25519Vector: Decodable, Sendable {
        let name: String
        let seed, publicKey, message, signature: Hex
    }

    struct XChaChaVector: Decodable, Sendable {
        let key, nonce, authenticating, text, sealed: Hex
    }

    @Test("Ed25519 gives the answers of RFC 8032")
    func ed25519() throws {
        let vectors = try VectorFile<Ed25519Vector>("ed25519").vectors
        #expect(vectors.count == 3)
        for vector in vectors {
            let key = Ed25519.SigningKey(seed: vector.seed.secret)
            #expect(key.publicKey.bytes == vector.publicKey.bytes, "\(vector.name)")
            let signature = key.sign(vector.message.bytes)
            #expect(signature == vector.signature.bytes, "\(vector.name)")
            #expect(
                Ed25519.isValid(signature, of: vector.message.bytes, by: key.publicKey),
                "\(vector.name)"
            )
        }
    }

    @Test("a changed signature, message or key is refused, and so is a wrong length")
    func refused() throws {
        let vector = try #require(VectorFile<Ed25519Vector>("ed25519").vectors.last)
        let key = try vector.publicKey.bytes32()
        let (message, signature) = (vector.message.bytes, vector.signature.bytes)
        for index in signature.indices {
            var changed = signature
            changed[index] ^= 4
            #expect(!Ed25519.isValid(changed, of: message, by: key))
        }
        #expect(!Ed25519.isValid(signature, of: message + [0], by: key))
        #expect(!Ed25519.isValid(signature, of: [], by: key))
        #expect(!Ed25519.isValid(signature, of: message, by: .zero))
        #expect(!Ed25519.isValid(Array(signature.dropLast()), of: message, by: key))
        #expect(!Ed25519.isValid(signature + [0], of: message, by: key))
        #expect(!Ed25519.isValid([], of: message, by: key))
    }

    @Test("a signature whose number is not reduced is refused")
    func malleable() throws {
        let vector = try #require(VectorFile<Ed25519Vector>("ed25519").vectors.last)
        // The order of the group, little-endian: S + order satisfies the same equation.
        let order = try #require(
            [UInt8](hex: "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        )
        var signature = vector.signature.bytes
        var carry = 0
        for index in 0..<32 {
            let sum = Int(signature[32 + index]) + Int(order[index]) + carry
            signature[32 + index] = UInt8(truncatingIfNeeded: sum)
            carry = sum >> 8
        }
        let key = try vector.publicKey.bytes32()
        #expect(!Ed25519.isValid(signature, of: vector.message.bytes, by: key))
    }

    @Test("a public key of low order verifies nothing, not even the signature of zeros")
    func lowOrderKey() throws {
        // The neutral element signs every message with R = itself and S = 0.
        let neutral = [1] + [UInt8](repeating: 0, count: 31)
        let key = try #require(Bytes32(neutral))
        let signature = neutral + [UInt8](repeating: 0, count: 32)
        #expect(!Ed25519.isValid(signature, of: [1, 2, 3], by: key))
    }

    @Test("labels are 16 bytes, their names zero padded")
    func labels() {
        #expect(
            SignatureLabel.link.bytes == [UInt8]("umbel/1/link".utf8) + [0, 0, 0, 0]
        )
        #expect(SignatureLabel.allCases.count == 9)
        for label in SignatureLabel.allCases { #expect(label.bytes.count == 16) }
        #expect(Set(SignatureLabel.allCases.map(\.bytes)).count == 9)
    }

    @Test("a signature holds for its label and network only")
    func labelled() throws {
        var random = RandomGenerator(testSeed: 3)
        let key = Ed25519.SigningKey(seed: random.secret(byteCount: 32))
        let (network, other) = (random.bytes32(), random.bytes32())
        for label in SignatureLabel.allCases {
            let signature = key.sign([1, 2, 3], label: label, network: network)
            #expect(signature == key.sign(label.bytes + network.bytes + [1, 2, 3]))
            for claimed in SignatureLabel.allCases {
                for claimedNetwork in [network, other] {
                    let isValid = Ed25519.isValid(
                        signature,
                        of: [1, 2, 3],
                        by: key.publicKey,
                        label: claimed,
                        network: claimedNetwork
                    )
                    #expect(isValid == (claimed == label && claimedNetwork == network))
                }
            }
            #expect(!Ed25519.isValid(signature, of: [1, 2, 3], by: key.publicKey))
        }
    }

    @Test("XChaCha20-Poly1305 gives the answer of its draft and refuses every changed byte")
    func xchacha() throws {
        let vector = try #require(VectorFile<XChaChaVector>("xchacha20poly1305").vectors.first)
        let (key, nonce) = (vector.key.bytes, vector.nonce.bytes)
        let associated = vector.authenticating.bytes
        let sealed = XChaCha20Poly1305.seal(
            vector.text.bytes,
            key: key,
            nonce: nonce,
            authenticating: associated
        )
        #expect(sealed == vector.sealed.bytes)
        func open(_ sealed: [UInt8], _ key: [UInt8], _ nonce: [UInt8]) -> [UInt8]? {
            XChaCha20Poly1305.open(sealed, key: key, nonce: nonce, authenticating: associated)
        }
        #expect(open(sealed, key, nonce) == vector.text.bytes)
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 0x10
            #expect(open(changed, key, nonce) == nil)
        }
        #expect(open(sealed, key.reversed(), nonce) == nil)
        #expect(open(sealed, key, nonce.reversed()) == nil)
        #expect(open(Array(sealed.prefix(15)), key, nonce) == nil)
        #expect(
            XChaCha20Poly1305.open(sealed, key: key, nonce: nonce, authenticating: []) == nil
        )
    }
}
