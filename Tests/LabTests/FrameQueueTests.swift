import Base
import Testing

@testable import umbel_lab

@Suite("The process in a cable")
struct FrameQueueTests {
    private func fates(_ faults: LinkFaults, stream: UInt64 = 0, count: Int = 200) -> [[UInt64]] {
        var queue = FrameQueue(faults: faults, stream: stream)
        for number in 0..<count {
            let now = Instant(nanoseconds: UInt64(number) * 100_000)
            queue.insert([UInt8](repeating: UInt8(number % 256), count: 64), now: now)
        }
        var result: [[UInt64]] = []
        while let deadline = queue.nextDeadline, let frame = queue.next(now: deadline) {
            result.append([deadline.nanoseconds] + frame.map(UInt64.init))
        }
        return result
    }

    @Test("a frame is held exactly its delay, in order")
    func delay() {
        let out = fates(LinkFaults(delayMicroseconds: 20_000))
        #expect(out.map { $0[0] } == (0..<200).map { 20_000_000 + $0 * 100_000 })
        #expect(out.map { $0[1] } == (0..<200).map { $0 })
    }

    @Test("nothing leaves before its time")
    func early() {
        var queue = FrameQueue(faults: LinkFaults(delayMicroseconds: 10), stream: 0)
        queue.insert([1], now: .zero)
        #expect(queue.next(now: Instant(nanoseconds: 9_999)) == nil)
        #expect(queue.next(now: Instant(nanoseconds: 10_000)) == [1])
        #expect(queue.nextDeadline == nil)
    }

    @Test("the same seed gives the same fates, another seed others")
    func seeded() {
        let faults = LinkFaults(
            delayMicroseconds: 5_000,
            jitterMicroseconds: 3_000,
            reorderPerMyriad: 500,
            duplicatePerMyriad: 500,
            corruptPerMyriad: 500
        )
        #expect(fates(faults) == fates(faults))
        #expect(fates(faults) != fates(faults, stream: 1))
        var other = faults
        other.seed = 2
        #expect(fates(faults) != fates(other))
    }

    @Test("every frame arrives twice, damaged in one bit, or at once when all chances say so")
    func certain() {
        #expect(fates(LinkFaults(duplicatePerMyriad: 10_000)).count == 400)
        let damaged = fates(LinkFaults(corruptPerMyriad: 10_000))
        for (number, frame) in damaged.enumerated() {
            let turned = frame.dropFirst().reduce(0) { $0 + ($1 ^ UInt64(number)).nonzeroBitCount }
            #expect(turned == 1)
            #expect(frame[1...14].allSatisfy { $0 == UInt64(number) })
        }
        let overtaking = fates(
            LinkFaults(delayMicroseconds: 1_000, reorderPerMyriad: 10_000)
        )
        #expect(overtaking.map { $0[0] } == (0..<200).map { $0 * 100_000 })
    }

    @Test("jitter stays within its bound and is used")
    func jitter() {
        let faults = LinkFaults(delayMicroseconds: 1_000, jitterMicroseconds: 50)
        var queue = FrameQueue(faults: faults, stream: 0)
        var times: Set<UInt64> = []
        for _ in 0..<1_000 { queue.insert([0], now: .zero) }
        while let deadline = queue.nextDeadline, queue.next(now: deadline) != nil {
            times.insert(deadline.nanoseconds / 1_000)
        }
        #expect(times.min() == 1_000)
        #expect(times.max() == 1_050)
    }

    @Test("a full queue drops and counts")
    func bound() {
        var queue = FrameQueue(faults: LinkFaults(delayMicroseconds: 1), stream: 0)
        for _ in 0..<(FrameQueue.capacity + 3) { queue.insert([0], now: .zero) }
        #expect(queue.droppedCount == 3)
    }
}
