import Base
import Testing

@testable import CryptoPrimitives

@Suite("Secrets")
struct SecretTests {
    @Test("a secret's bytes are zeros once its last owner lets go", arguments: [1, 32, 96, 4096])
    func wiped(byteCount: Int) throws {
        // Slots are never given back to the system, and nobody else uses this memory.
        let memory = SecretMemory()
        let pattern = [UInt8](repeating: 0xc3, count: byteCount)
        var secret: Secret? = Secret(copying: pattern, in: memory)
        let address = try #require(secret?.withUnsafeStart { UInt(bitPattern: $0) })
        #expect(secret?.exposed == pattern)
        let start = try #require(UnsafePointer<UInt8>(bitPattern: address))
        let before = Array(UnsafeBufferPointer(start: start, count: byteCount))
        #expect(before == pattern)
        secret = nil
        let after = Array(UnsafeBufferPointer(start: start, count: byteCount))
        #expect(after == [UInt8](repeating: 0, count: byteCount))
    }

    @Test("an expanded key is zeros once it ends", arguments: AEADKeyTests.available)
    func keyWiped(provider: AEADProvider) throws {
        let memory = SecretMemory()
        // A key of this provider takes the slot that this block leaves.
        let byteCount = try keyByteCount(provider)
        let start = memory.allocate(byteCount: byteCount)
        memory.release(start, byteCount: byteCount)
        func contents() -> [UInt8] {
            Array(UnsafeRawBufferPointer(start: start, count: byteCount))
        }
        let secret = Secret(copying: [UInt8](repeating: 0x5a, count: 32))
        do {
            let key = AEADKey(secret, provider: provider, in: memory)
            #expect(contents().contains { $0 != 0 })
            var message = SealedMessage(text: [1, 2, 3], authenticating: [])
            message.seal(key, nonce: 0)
            let holds = message.open(key, nonce: 0)
            #expect(holds)
        }
        #expect(contents().allSatisfy { $0 == 0 })
    }

    @Test("a secret shows its length and nothing else")
    func description() {
        let secret = Secret(copying: [UInt8](repeating: 0xab, count: 32))
        #expect("\(secret)" == "Secret(32 bytes)")
        #expect(String(reflecting: secret) == "Secret(32 bytes)")
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!dumped.contains("171") && !dumped.lowercased().contains("block"))
    }

    @Test("equality looks at every byte and the length")
    func equality() {
        let secret = Secret(copying: [UInt8](0..<32))
        #expect(secret.isEqual(to: Secret(copying: [UInt8](0..<32))))
        #expect(!secret.isEqual(to: Secret(copying: [UInt8](0..<31))))
        for index in 0..<32 {
            var bytes = [UInt8](0..<32)
            bytes[index] ^= 0x80
            #expect(!secret.isEqual(to: Secret(copying: bytes)))
            #expect(!ConstantTime.areEqual(bytes, [UInt8](0..<32)))
        }
        #expect(ConstantTime.areEqual([1, 2], [1, 2]))
        #expect(!ConstantTime.areEqual([1, 2], [1, 2, 3]))
        #expect(ConstantTime.areEqual([], []))
    }

    @Test("slices are the bytes of their range")
    func slices() async {
        let secret = Secret(copying: [UInt8](0..<96))
        #expect(secret.slice(32..<64).exposed == [UInt8](32..<64))
        #expect(secret.slice(0..<96).isEqual(to: secret))
        #expect(secret.slice(5..<5).byteCount == 0)
        await #expect(processExitsWith: .failure) {
            _ = Secret(copying: [1, 2, 3]).slice(2..<4)
        }
    }

    @Test(
        "slots are zero, aligned to 64 bytes and never shared",
        arguments: [1, 64, 65, 512, 4096]
    )
    func slots(byteCount: Int) {
        let memory = SecretMemory()
        var taken: [UnsafeMutableRawPointer] = []
        for _ in 0..<700 {
            let slot = memory.allocate(byteCount: byteCount)
            #expect(UInt(bitPattern: slot).isMultiple(of: 64))
            let bytes = UnsafeMutableRawBufferPointer(start: slot, count: byteCount)
            #expect(bytes.allSatisfy { $0 == 0 })
            bytes.initializeMemory(as: UInt8.self, repeating: 0xff)
            taken.append(slot)
        }
        let sorted = taken.map { UInt(bitPattern: $0) }.sorted()
        for (left, right) in zip(sorted, sorted.dropFirst()) {
            #expect(right - left >= UInt(byteCount))
        }
        for slot in taken { memory.release(slot, byteCount: byteCount) }
        let again = memory.allocate(byteCount: byteCount)
        #expect(taken.contains(again))
        memory.release(again, byteCount: byteCount)
    }

    @Test("many keys are in few mappings, and a few take little memory")
    func chunks() {
        let memory = SecretMemory()
        _ = memory.allocate(byteCount: 64)
        #expect(memory.chunks.byteCount == 32_768)
        // 32 MiB, none of which is released.
        let count = 8_192
        for _ in 0..<count { _ = memory.allocate(byteCount: 4_096) }
        let chunks = memory.chunks
        #expect(chunks.count < 80)
        #expect(chunks.byteCount < count * 4_096 * 9 / 8 + 32_768)
    }

    private func keyByteCount(_ provider: AEADProvider) throws -> Int {
        let memory = SecretMemory()
        let key = AEADKey(
            Secret(copying: [UInt8](repeating: 0, count: 32)),
            provider: provider,
            in: memory
        )
        return key.storageByteCount
    }
}
