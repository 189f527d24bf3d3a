import EventLoop
import Glibc
import Synchronization
import Testing

@Suite("Random bytes (matrix row 18)")
struct SystemEntropyTests {
    @Test(
        "the kernel fills every size whole and never twice alike",
        arguments: [1, 32, 256, 5_000]
    )
    func kernel(byteCount: Int) throws {
        let first = try SystemEntropy.kernel.read(byteCount: byteCount)
        let second = try SystemEntropy.kernel.read(byteCount: byteCount)
        #expect(first.count == byteCount)
        #expect(byteCount < 32 || first != second)
        // 5 000 random bytes miss a given value with probability 10⁻⁹.
        #expect(byteCount < 5_000 || Set(first).count == 256)
    }

    @Test("a failing source is an error, never bytes", arguments: [EIO, ENOSYS, EPERM])
    func fails(code: CInt) {
        let entropy = SystemEntropy { _ in -Int(code) }
        do {
            _ = try entropy.read(byteCount: 32)
            Issue.record("made bytes from nothing")
        } catch {
            #expect(error.cause.code == code)
            #expect(error.description.hasPrefix("read 32 random bytes: "))
            #expect(error.hint.contains("no key is made"))
        }
    }

    @Test("a short read is an error, in the first request and in a later one", arguments: [0, 255])
    func short(byteCount: Int) {
        for wanted in [256, 600] {
            let entropy = SystemEntropy { $0.byteCount == 256 && wanted == 600 ? 256 : byteCount }
            do {
                _ = try entropy.read(byteCount: wanted)
                Issue.record("took a short read for a full one")
            } catch {
                #expect(error.cause.code == EIO)
                #expect(error.cause.subject.hasSuffix("got \(byteCount)"))
            }
        }
    }

    @Test("an interrupted read is tried again, but not for ever")
    func interrupted() throws {
        let count = Counter()
        let recovering = SystemEntropy { bytes in
            count.value.withLock { $0 += 1 }
            return count.value.withLock { $0 } < 4 ? -Int(EINTR) : bytes.byteCount
        }
        #expect(try recovering.read(byteCount: 8).count == 8)
        let stuck = SystemEntropy { _ in -Int(EINTR) }
        #expect(throws: EntropyError.self) { try stuck.read(byteCount: 8) }
    }

    private final class Counter: Sendable {
        let value = Mutex(0)
    }
}
