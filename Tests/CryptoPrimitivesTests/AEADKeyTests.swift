import Base
import Testing

@testable import CryptoPrimitives

/// One message laid out in a span, with gaps so that stray writes show.
struct SealedMessage {
    var bytes: [UInt8]
    let authenticating: Range<Int>
    let text: Range<Int>
    let tagOffset: Int

    init(text: [UInt8], authenticating: [UInt8], tag: [UInt8] = .init(repeating: 0, count: 16)) {
        let gap: [UInt8] = [0xa5, 0xa5, 0xa5]
        bytes = gap + authenticating + gap + tag + gap + text + gap
        self.authenticating = 3..<3 + authenticating.count
        tagOffset = authenticating.count + 6
        self.text = tagOffset + 19..<tagOffset + 19 + text.count
    }

    var tag: [UInt8] { Array(bytes[tagOffset..<tagOffset + 16]) }
    var textBytes: [UInt8] { Array(bytes[text]) }

    mutating func seal(_ key: borrowing AEADKey, prefix: UInt32 = 0, nonce: UInt64) {
        let (text, tagOffset, authenticating) = (text, tagOffset, authenticating)
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        key.seal(
            &span,
            text: text,
            tagOffset: tagOffset,
            noncePrefix: prefix,
            nonce: nonce,
            authenticating: authenticating
        )
    }

    mutating func open(_ key: borrowing AEADKey, prefix: UInt32 = 0, nonce: UInt64) -> Bool {
        let (text, tagOffset, authenticating) = (text, tagOffset, authenticating)
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        return key.open(
            &span,
            text: text,
            tagOffset: tagOffset,
            noncePrefix: prefix,
            nonce: nonce,
            authenticating: authenticating
        )
    }
}

@Suite("Sealing packets")
struct AEADKeyTests {
    struct Vector: Decodable, Sendable {
        let name: String
        let key, nonce, text, authenticating, ciphertext, tag: Hex
    }

    static let available = AEADProvider.allCases.filter(\.isAvailable)

    @Test("swift-crypto is always there and the provider chosen is the first one available")
    func selection() {
        #expect(Self.available.last == .swiftCrypto)
        #expect(AEADProvider.selected == Self.available.first)
        for provider in Self.available {
            #expect(provider.versionDescription.hasPrefix(provider.rawValue))
        }
    }

    @Test("published answers of AES-256-GCM hold both ways", arguments: available)
    func publishedAnswers(provider: AEADProvider) throws {
        let vectors = try VectorFile<Vector>("aes256gcm").vectors
        #expect(vectors.count == 4)
        for vector in vectors {
            let key = AEADKey(vector.key.secret, provider: provider)
            let (prefix, number): (UInt32, UInt64) = (
                vector.nonce.bytes.span.bytes.loadBigEndian(at: 0),
                vector.nonce.bytes.span.bytes.loadBigEndian(at: 4)
            )
            var message = SealedMessage(
                text: vector.text.bytes,
                authenticating: vector.authenticating.bytes
            )
            message.seal(key, prefix: prefix, nonce: number)
            let expected = SealedMessage(
                text: vector.ciphertext.bytes,
                authenticating: vector.authenticating.bytes,
                tag: vector.tag.bytes
            )
            #expect(message.bytes == expected.bytes, "\(vector.name)")
            let holds = message.open(key, prefix: prefix, nonce: number)
            #expect(holds, "\(vector.name)")
            #expect(message.textBytes == vector.text.bytes, "\(vector.name)")
        }
    }

    @Test("the nonce is four zero bytes and the number big-endian", arguments: available)
    func nonceLayout(provider: AEADProvider) {
        let key = AEADKey(Secret(copying: [UInt8](0..<32)), provider: provider)
        var viaPublic = [UInt8](repeating: 7, count: 36)
        var elements = viaPublic.mutableSpan
        var span = elements.mutableBytes
        key.seal(
            &span,
            text: 0..<20,
            tagOffset: 20,
            nonce: 0x0102_0304_0506_0708,
            authenticating: 0..<0
        )
        var message = SealedMessage(text: [UInt8](repeating: 7, count: 20), authenticating: [])
        message.seal(key, prefix: 0, nonce: 0x0102_0304_0506_0708)
        #expect(viaPublic == message.textBytes + message.tag)
        var other = SealedMessage(text: [UInt8](repeating: 7, count: 20), authenticating: [])
        other.seal(key, prefix: 1, nonce: 0x0102_0304_0506_0708)
        #expect(other.textBytes != message.textBytes)
    }

    @Test("all providers give the same bytes and open each other's", arguments: 0..<8)
    func providersAgree(seed: UInt64) {
        var random = RandomGenerator(testSeed: seed)
        for round in 0..<60 {
            // Every length near a block's edge is met over the seeds, long ones at random.
            let textByteCount = round < 30 ? Int(seed) * 30 + round : random.next(in: 0...1356)
            let text = random.bytes(textByteCount)
            let authenticating = random.bytes(random.next(in: 0...80))
            let secret = random.secret(byteCount: 32)
            let (prefix, nonce) = (UInt32(truncatingIfNeeded: random.next()), random.next())
            var sealed: [SealedMessage] = []
            for provider in Self.available {
                var message = SealedMessage(text: text, authenticating: authenticating)
                message.seal(AEADKey(secret, provider: provider), prefix: prefix, nonce: nonce)
                sealed.append(message)
            }
            for message in sealed { #expect(message.bytes == sealed.first?.bytes) }
            for provider in Self.available {
                guard var message = sealed.first else { continue }
                let key = AEADKey(secret, provider: provider)
                let holds = message.open(key, prefix: prefix, nonce: nonce)
                #expect(holds)
                #expect(message.textBytes == text)
            }
        }
    }

    @Test("one changed bit anywhere is refused and leaves zeros", arguments: available)
    func tampering(provider: AEADProvider) {
        var random = RandomGenerator(testSeed: 99)
        let key = AEADKey(random.secret(byteCount: 32), provider: provider)
        for (textByteCount, adByteCount) in [(12, 8), (1356, 0), (33, 20), (0, 5), (0, 0)] {
            var sealed = SealedMessage(
                text: random.bytes(textByteCount),
                authenticating: random.bytes(adByteCount)
            )
            sealed.seal(key, nonce: 5)
            let tag = sealed.tagOffset..<sealed.tagOffset + 16
            let parts = Array(tag) + Array(sealed.authenticating) + Array(sealed.text)
            for offset in parts {
                var changed = sealed
                changed.bytes[offset] ^= 1 << UInt8(random.next(below: 8))
                let holds = changed.open(key, nonce: 5)
                #expect(!holds)
                #expect(changed.textBytes.allSatisfy { $0 == 0 })
            }
            for nonce: UInt64 in [4, 6, 5 | 1 << 63] {
                var changed = sealed
                let holds = changed.open(key, nonce: nonce)
                #expect(!holds)
                #expect(changed.textBytes.allSatisfy { $0 == 0 })
            }
            var otherKey = sealed
            let stranger = AEADKey(random.secret(byteCount: 32), provider: provider)
            let holds = otherKey.open(stranger, nonce: 5)
            #expect(!holds)
            #expect(otherKey.textBytes.allSatisfy { $0 == 0 })
            let opens = sealed.open(key, nonce: 5)
            #expect(opens)
        }
    }

    @Test("a shorter or longer part of the same span is refused", arguments: available)
    func shiftedParts(provider: AEADProvider) {
        let key = AEADKey(Secret(copying: [UInt8](0..<32)), provider: provider)
        var bytes = [UInt8](0..<100)
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        key.seal(&span, text: 24..<90, tagOffset: 8, nonce: 1, authenticating: 0..<8)
        let sealed = span.bytes.copyBytes(0..<100)
        for (text, authenticating) in [
            (24..<89, 0..<8), (24..<91, 0..<8), (25..<90, 0..<8), (24..<90, 0..<7),
            (24..<90, 1..<8), (24..<90, 0..<0),
        ] {
            span.copy(sealed, to: 0)
            let opens = key.open(
                &span,
                text: text,
                tagOffset: 8,
                nonce: 1,
                authenticating: authenticating
            )
            #expect(!opens)
        }
        span.copy(sealed, to: 0)
        let opens = key.open(&span, text: 24..<90, tagOffset: 8, nonce: 1, authenticating: 0..<8)
        #expect(opens)
    }

    @Test("parts outside the span end the process")
    func outsideSpan() async {
        await #expect(processExitsWith: .failure) {
            sealParts(text: 0..<20, tagOffset: 25, authenticating: 0..<0)
        }
        await #expect(processExitsWith: .failure) {
            sealParts(text: 20..<41, tagOffset: 0, authenticating: 0..<0)
        }
        await #expect(processExitsWith: .failure) {
            sealParts(text: 16..<20, tagOffset: 0, authenticating: 30..<41)
        }
    }

    @Test("parts that overlap end the process")
    func overlap() async {
        await #expect(processExitsWith: .failure) {
            sealParts(text: 0..<20, tagOffset: 19, authenticating: 0..<0)
        }
        await #expect(processExitsWith: .failure) {
            sealParts(text: 16..<30, tagOffset: 0, authenticating: 29..<35)
        }
        await #expect(processExitsWith: .failure) {
            sealParts(text: 30..<40, tagOffset: 5, authenticating: 0..<6)
        }
        await #expect(processExitsWith: .success) {
            sealParts(text: 24..<40, tagOffset: 8, authenticating: 0..<8)
        }
    }

    @Test("a single-use seal opens with its key and associated data alone")
    func singleUse() throws {
        let key = Secret(copying: [UInt8](0..<32))
        let sealed = SingleUseAEAD.seal([1, 2, 3], key: key, authenticating: [9])
        #expect(sealed.count == 19)
        #expect(SingleUseAEAD.open(sealed, key: key, authenticating: [9]) == [1, 2, 3])
        #expect(SingleUseAEAD.open(sealed, key: key, authenticating: [8]) == nil)
        #expect(SingleUseAEAD.open(sealed, key: key, authenticating: []) == nil)
        #expect(SingleUseAEAD.open(Array(sealed.dropLast()), key: key, authenticating: [9]) == nil)
        #expect(SingleUseAEAD.open([], key: key, authenticating: [9]) == nil)
        let other = Secret(copying: [UInt8](1..<33))
        #expect(SingleUseAEAD.open(sealed, key: other, authenticating: [9]) == nil)
        let empty = SingleUseAEAD.seal([], key: key, authenticating: [])
        #expect(SingleUseAEAD.open(empty, key: key, authenticating: []) == [])
        let vector = try #require(VectorFile<Vector>("aes256gcm").vectors.dropFirst().first)
        #expect(
            SingleUseAEAD.seal(vector.text.bytes, key: vector.key.secret, authenticating: [])
                == vector.ciphertext.bytes + vector.tag.bytes
        )
    }

    @Test("one key serves many threads at once")
    func sharedKey() async {
        final class Owner: Sendable {
            let key = AEADKey(Secret(copying: [UInt8](0..<32)))
        }
        let owner = Owner()
        let failures = await withTaskGroup(of: Int.self) { group in
            for task in UInt64(0)..<8 {
                group.addTask {
                    var failures = 0
                    var random = RandomGenerator(testSeed: task)
                    for number in UInt64(0)..<500 {
                        let text = random.bytes(1356)
                        var message = SealedMessage(text: text, authenticating: [1, 2])
                        message.seal(owner.key, nonce: number)
                        let opens = message.open(owner.key, nonce: number)
                        if !opens || message.textBytes != text { failures += 1 }
                    }
                    return failures
                }
            }
            return await group.reduce(0, +)
        }
        #expect(failures == 0)
    }
}

/// Seals parts of 40 zero bytes.
func sealParts(text: Range<Int>, tagOffset: Int, authenticating: Range<Int>) {
    let key = AEADKey(Secret(copying: [UInt8](repeating: 1, count: 32)))
    var bytes = [UInt8](repeating: 0, count: 40)
    var elements = bytes.mutableSpan
    var span = elements.mutableBytes
    key.seal(
        &span,
        text: text,
        tagOffset: tagOffset,
        nonce: 0,
        authenticating: authenticating
    )
}
