import Base
import Flows
import Testing

@Suite("When a TUN device is read")
struct ReadPaceTests {
    private static let start = Instant.zero + .seconds(1)

    /// Reads of one packet every `interval`, for ten milliseconds; whether reading waits then.
    private func isHolding(every interval: TimeSpan, packetByteCount: Int) -> Bool {
        var pace = ReadPace(now: Self.start)
        var now = Self.start
        while now < Self.start + .milliseconds(10) {
            now = now + interval
            pace.note(packetCount: 1, byteCount: packetByteCount, now: now)
        }
        return pace.isHolding
    }

    @Test("small packets that come fast are waited for, slow or large ones are not")
    func rates() {
        #expect(isHolding(every: .microseconds(20), packetByteCount: 92))
        #expect(isHolding(every: .microseconds(240), packetByteCount: 92))
        #expect(!isHolding(every: .microseconds(300), packetByteCount: 92))
        #expect(!isHolding(every: .milliseconds(1), packetByteCount: 92))
        #expect(!isHolding(every: .microseconds(20), packetByteCount: 1_280))
        #expect(!isHolding(every: .microseconds(20), packetByteCount: 65_000))
    }

    @Test("a pause ends the waiting, and one packet after it is not held")
    func pause() {
        var pace = ReadPace(now: Self.start)
        pace.note(packetCount: 40, byteCount: 40 * 92, now: Self.start + .milliseconds(2))
        #expect(pace.isHolding)
        pace.note(packetCount: 0, byteCount: 0, now: Self.start + .milliseconds(4))
        #expect(!pace.isHolding)
        pace.note(packetCount: 1, byteCount: 92, now: Self.start + .seconds(1))
        #expect(!pace.isHolding)
    }
}
