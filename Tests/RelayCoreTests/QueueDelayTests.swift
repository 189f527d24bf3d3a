import Base
import Testing

@testable import RelayCore

@Suite("How long cells wait at a relay")
struct QueueDelayTests {
    private static let start = Instant(nanoseconds: 1_000_000_000)

    @Test("what waits, by how fast it is taken: 200 datagrams at 10 µs each are 2 ms")
    func steady() {
        var delay = QueueDelay()
        let waiting = 200 * QueueDelay.bookedByteCount
        #expect(delay.units == 0)
        for batch in 0..<20 as Range<UInt64> {
            delay.beginBatch(
                waitingByteCount: waiting,
                now: Self.start + .milliseconds(batch)
            )
            delay.note(datagramCount: 100)
        }
        #expect(delay.units == 20)
    }

    @Test("an empty queue has no delay, and time asleep says nothing of the rate")
    func idle() {
        var delay = QueueDelay()
        var now = Self.start
        for _ in 0..<4 {
            delay.beginBatch(waitingByteCount: 50 * QueueDelay.bookedByteCount, now: now)
            delay.note(datagramCount: 50)
            now = now + .milliseconds(1)
        }
        delay.beginBatch(waitingByteCount: 0, now: now)
        #expect(delay.units == 0)
        now = now + .milliseconds(90)
        delay.note(datagramCount: 1)
        delay.beginBatch(waitingByteCount: 50 * QueueDelay.bookedByteCount, now: now)
        // 20 µs each, as before the pause.
        #expect(delay.units == 10)
    }

    @Test("nonsense from the kernel is no delay, and none is beyond what a report holds")
    func bounds() {
        var delay = QueueDelay()
        delay.beginBatch(waitingByteCount: -5, now: Self.start)
        #expect(delay.units == 0)
        delay.beginBatch(waitingByteCount: .max, now: Self.start)
        delay.note(datagramCount: 1)
        delay.beginBatch(waitingByteCount: .max, now: Self.start + .milliseconds(100))
        #expect(delay.units == .max)
    }
}
