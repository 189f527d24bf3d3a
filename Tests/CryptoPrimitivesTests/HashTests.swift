import Base
import CryptoPrimitives
import Foundation
import Testing

@Suite("Hashes and key derivation")
struct HashTests {
    struct HKDFVector: Decodable, Sendable {
        let name: String
        let inputKeyMaterial, salt, info, prk, output: Hex
    }

    struct BLAKE2bVector: Decodable, Sendable {
        let message, digest: Hex
    }

    struct SelfTest: Decodable {
        let selfTest: Hex
    }

    @Test("SHA-256 gives the answers of FIPS 180, in one part or several")
    func sha256() {
        #expect(
            SHA256.digest([UInt8]("abc".utf8)).hex
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        #expect(
            SHA256.digest([], [UInt8]("a".utf8), [UInt8]("bc".utf8))
                == SHA256.digest([UInt8]("abc".utf8))
        )
        #expect(
            SHA256.digest().hex
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
    }

    @Test("HKDF gives the answers of RFC 5869, salted by bytes or by a secret")
    func hkdf() throws {
        let vectors = try VectorFile<HKDFVector>("hkdf").vectors
        #expect(vectors.count == 3)
        for vector in vectors {
            let material = vector.inputKeyMaterial.secret
            let prk = HKDF.extract(salt: vector.salt.bytes, inputKeyMaterial: material)
            #expect(prk.exposed == vector.prk.bytes, "\(vector.name)")
            let salted = HKDF.extract(salt: vector.salt.secret, inputKeyMaterial: material)
            #expect(salted.isEqual(to: prk), "\(vector.name)")
            let expected = vector.output.bytes
            for byteCount in [expected.count, 0, 1, 31, 32, 33] {
                let output = HKDF.expand(prk, info: vector.info.bytes, byteCount: byteCount)
                #expect(output.exposed == Array(expected.prefix(byteCount)), "\(vector.name)")
            }
        }
    }

    @Test("HKDF gives 8160 bytes and not one more")
    func hkdfLimit() async {
        let prk = Secret(copying: [UInt8](repeating: 1, count: 32))
        #expect(HKDF.expand(prk, info: [], byteCount: 8160).byteCount == 8160)
        await #expect(processExitsWith: .failure) {
            let prk = Secret(copying: [UInt8](repeating: 1, count: 32))
            _ = HKDF.expand(prk, info: [], byteCount: 8161)
        }
    }

    @Test("BLAKE2b gives the answers of RFC 7693, with keys and without")
    func blake2b() throws {
        for vector in try VectorFile<BLAKE2bVector>("blake2b").vectors {
            #expect(BLAKE2b.hash(vector.message.bytes, byteCount: 64) == vector.digest.bytes)
        }
        var digests: [UInt8] = []
        for byteCount in [20, 32, 48, 64] {
            for inputByteCount in [0, 3, 128, 129, 255, 1024] {
                let input = selfTestSequence(inputByteCount)
                let key = selfTestSequence(byteCount)
                digests += BLAKE2b.hash(input, byteCount: byteCount)
                digests += BLAKE2b.hash(
                    Array(input.prefix(2)),
                    Array(input.dropFirst(2)),
                    key: key,
                    byteCount: byteCount
                )
            }
        }
        let expected = try JSONDecoder().decode(SelfTest.self, from: vectorData("blake2b"))
        #expect(BLAKE2b.hash(digests, byteCount: 32) == expected.selfTest.bytes)
    }

    @Test("a mac holds for its range and key, and for no other bit")
    func mac() {
        let key = [UInt8](0..<32)
        var bytes = [UInt8](0..<100)
        let mac = BLAKE2b.mac(bytes.span.bytes, range: 4..<84, key: key)
        #expect(mac == BLAKE2b.hash(Array(bytes[4..<84]), key: key, byteCount: 16))
        bytes.replaceSubrange(84..<100, with: mac)
        func isValid(_ bytes: [UInt8], key: [UInt8]) -> Bool {
            BLAKE2b.isValidMAC(bytes.span.bytes, range: 4..<84, macOffset: 84, key: key)
        }
        #expect(isValid(bytes, key: key))
        for index in 0..<100 {
            var changed = bytes
            changed[index] ^= 1
            #expect(isValid(changed, key: key) == (index < 4))
        }
        #expect(!isValid(bytes, key: [UInt8](1..<33)))
    }

    private func selfTestSequence(_ count: Int) -> [UInt8] {
        var first = 0xdead_4bad &* UInt32(count)
        var second: UInt32 = 1
        return (0..<count).map { _ in
            (first, second) = (second, first &+ second)
            return UInt8(truncatingIfNeeded: second >> 24)
        }
    }
}
