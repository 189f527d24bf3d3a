import Base
import Mixing
import Testing
import Wire

@Suite("Clocks and slots")
struct SlotClockTests {
    private static let civil: UInt64 = 1_800_000_000_000_000_000

    private func clock(believesItself: Bool, at now: Instant) -> SlotClock {
        var clock = SlotClock(believesItself: believesItself)
        clock.set(civilNanoseconds: Self.civil, now: now)
        return clock
    }

    @Test(
        "slots are numbered from 1970, and the next one begins on its boundary",
        arguments: SlotLength.allCases
    )
    func grid(length: SlotLength) {
        let now = Instant(nanoseconds: 7_000_000_123)
        let clock = clock(believesItself: true, at: now)
        #expect(clock.slot(at: now, length) == Self.civil / length.span.nanoseconds)
        let next = clock.nextSlotStart(after: now, length)
        #expect(next > now && next - now <= length.span)
        #expect(clock.slot(at: next, length) == clock.slot(at: now, length) + 1)
        let before = Instant(nanoseconds: next.nanoseconds - 1)
        #expect(clock.slot(at: before, length) == clock.slot(at: now, length))
    }

    @Test("a client follows its guard's clock, whatever its own shows", arguments: [-50, 50])
    func follows(skew: Int64) {
        let now = Instant(nanoseconds: 1_000_000_000)
        var clock = clock(believesItself: false, at: now)
        let peer = UInt64(Int64(Self.civil) + skew * 1_000_000)
        // Asked 10 ms before, answered 10 ms after: half way it was `now` there.
        clock.note(
            microseconds: peer / 1_000,
            sent: Instant(nanoseconds: now.nanoseconds - 10_000_000),
            received: now + .milliseconds(10)
        )
        #expect(abs(clock.correctionNanoseconds - skew * 1_000_000) < 1_000)
    }

    @Test("a relay believes itself as much as all others")
    func relay() {
        let now = Instant(nanoseconds: 1_000_000_000)
        var clock = clock(believesItself: true, at: now)
        for _ in 0..<20 {
            clock.note(microseconds: Self.civil / 1_000 + 70_000, sent: now, received: now)
        }
        #expect(clock.correctionNanoseconds == 0)
    }

    @Test("once set, one reading moves the clock by no more than half a millisecond")
    func steps() {
        let now = Instant(nanoseconds: 1_000_000_000)
        var clock = clock(believesItself: false, at: now)
        for _ in 0..<8 { clock.note(microseconds: Self.civil / 1_000, sent: now, received: now) }
        for _ in 0..<5 {
            let before = clock.correctionNanoseconds
            clock.note(microseconds: Self.civil / 1_000 + 40_000, sent: now, received: now)
            #expect(abs(clock.correctionNanoseconds - before) <= SlotClock.stepLimit)
        }
    }

    @Test("a machine that slept begins anew with its own clock")
    func sleeps() {
        let now = Instant(nanoseconds: 1_000_000_000)
        var clock = clock(believesItself: false, at: now)
        clock.note(microseconds: Self.civil / 1_000 + 40_000, sent: now, received: now)
        #expect(clock.correctionNanoseconds == 40_000_000)
        clock.set(civilNanoseconds: Self.civil + 3_600_000_000_000, now: now + .milliseconds(1))
        #expect(clock.correctionNanoseconds == 0)
    }

    @Test("every member is served once in a slot, and slots slept through are not made up for")
    func rounds() {
        var now = Instant(nanoseconds: 1_000_000_000)
        let clock = clock(believesItself: true, at: now)
        var round = SlotRound(length: .tenMilliseconds)
        for member in 0..<5 { round.add(member, now: now, clock: clock) }
        var served: [UInt64: [Int]] = [:]
        for step in 0..<40 {
            now = step == 20 ? now + .milliseconds(500) : round.due
            var count = 0
            while count < 3, let member = round.takeNext(now: now, clock: clock) {
                served[round.slot, default: []].append(member)
                count += 1
            }
            if round.due == .zero {
                while let member = round.takeNext(now: now, clock: clock) {
                    served[round.slot, default: []].append(member)
                }
            }
            if step == 10 { round.remove(2) }
        }
        #expect(served.values.allSatisfy { $0 == [0, 1, 2, 3, 4] || $0 == [0, 1, 3, 4] })
        #expect(served.count >= 38)
    }
}
