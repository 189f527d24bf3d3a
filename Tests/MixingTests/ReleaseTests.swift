import Base
import CryptoPrimitives
import Mixing
import TestSupport
import Testing
import Wire

@Suite("Cells that wait, rates, and the watch over them")
struct ReleaseTests {
    private func held(_ order: UInt32, due: UInt64 = 0) -> HeldCell {
        var held = HeldCell(cell: Int32(order))
        held.order = order
        held.due = due
        return held
    }

    @Test("a queue gives back in order, up to its capacity")
    func order() {
        var queue = ReleaseQueue(capacity: 3)
        for round in 0..<4 as Range<UInt32> {
            for order in 0..<3 as Range<UInt32> {
                let isTaken = queue.append(held(round * 3 + order))
                #expect(isTaken)
            }
            let isTaken = queue.append(held(99))
            #expect(!isTaken)
            for order in 0..<3 as Range<UInt32> {
                let first = queue.removeFirst()
                #expect(first?.order == round * 3 + order)
            }
            #expect(queue.isEmpty)
        }
    }

    @Test("a cell that comes late takes its place, and none overtakes the one before it")
    func holds() {
        var queue = ReleaseQueue(capacity: 8)
        let first = queue.insert(held(1, due: 10))
        let third = queue.insert(held(3, due: 5))
        let second = queue.insert(held(2, due: 7))
        #expect(first && second && third)
        let early = queue.removeFirst(dueIn: 9)
        #expect(early == nil)
        let orders = (0..<3).map { _ in queue.removeFirst(dueIn: 10)?.order }
        #expect(orders == [1, 2, 3])
    }

    @Test("a ladder rises at once with what waits, and falls a step at a time after a while")
    func ladder() {
        var random = RandomGenerator(seed: .numbered(1))
        var now = Instant(nanoseconds: 1_000_000_000)
        var ladder = RateLadder(step: 0, now: now, random: &random)
        #expect(ladder.rate == 16)
        ladder.noteBacklog(4, now: now, random: &random)
        #expect(ladder.rate == 16, "250 ms of 16 cells a second are 4")
        ladder.noteBacklog(5, now: now, random: &random)
        #expect(ladder.rate == 64)
        ladder.noteBacklog(400, now: now, random: &random)
        #expect(ladder.rate == 1_024)
        var falls: [(Instant, UInt64)] = []
        let began = now
        while ladder.rate > 16, now < began + .seconds(60) {
            now = ladder.due
            let before = ladder.rate
            ladder.noteCell(isReal: false, backlog: 0, now: now, random: &random)
            if ladder.rate < before { falls.append((now, ladder.rate)) }
        }
        #expect(falls.map(\.1) == [256, 64, 16])
        #expect(falls[0].0 - began >= .milliseconds(500))
        // With 200 real cells a second it stays where they fit.
        ladder.noteBacklog(80, now: now, random: &random)
        #expect(ladder.rate == 1_024 || ladder.rate == 256)
        var step: UInt64 = 0
        let until = now + .seconds(20)
        while now < until {
            now = ladder.due
            step += 200
            let isReal = step >= ladder.rate
            if isReal { step -= ladder.rate }
            ladder.noteCell(isReal: isReal, backlog: 0, now: now, random: &random)
        }
        #expect(ladder.rate == 256)
    }

    @Test("exponential draws have the mean and the median they should")
    func exponential() {
        var random = RandomGenerator(seed: .numbered(2))
        var draws = (0..<20_000).map { _ in random.exponential(mean: .seconds(1)).seconds }
        draws.sort()
        let mean = draws.reduce(0, +) / Double(draws.count)
        #expect(abs(mean - 1) < 0.03)
        #expect(abs(draws[draws.count / 2] - 0.693) < 0.03)
    }

    private static let span: TimeSpan = .seconds(10)

    /// One span of 1,000 slots of which `lost` cells do not come.
    private func span(
        _ watch: inout GridWatch,
        _ count: inout UInt32,
        _ heard: inout UInt16,
        from start: Instant,
        lost: (Int) -> Bool = { _ in false },
        slotOf: (Int) -> Int = { $0 },
        padding: Int = 0
    ) -> GridWatch.Outcome? {
        for slot in 0..<1_000 {
            watch.noteSlot(start.nanoseconds / 10_000_000 + UInt64(slot))
            watch.noteSent()
            heard &+= 1
            count += 1
            guard !lost(slot) else { continue }
            let number = start.nanoseconds / 10_000_000 + UInt64(slotOf(slot))
            watch.noteReceived(count, heard: heard, slot: number)
        }
        watch.notePadding(padding)
        return watch.judge(now: start + Self.span)
    }

    private func watch() -> GridWatch {
        var settings = GridWatch.Settings()
        settings.span = Self.span
        return GridWatch(settings, now: Instant(nanoseconds: 1_000_000_000))
    }

    @Test("loss that is usual is no fault, a rise of more than two in a hundred is")
    func dropping() {
        var watch = watch()
        var (count, heard): (UInt32, UInt16) = (500, 65_000)
        var now = Instant(nanoseconds: 1_000_000_000)
        for _ in 0..<3 {
            let outcome = span(&watch, &count, &heard, from: now, lost: { $0 % 100 == 50 })
            #expect(outcome?.fault == nil)
            #expect(outcome.map { abs(Int($0.backwardLoss) - 10_000) < 1_500 } == true)
            now = now + Self.span
        }
        let outcome = span(&watch, &count, &heard, from: now, lost: { $0 % 20 == 10 })
        #expect(outcome?.fault == .dropping)
    }

    @Test("who drops from the start does not set the measure")
    func droppingFromTheStart() {
        var watch = watch()
        var (count, heard): (UInt32, UInt16) = (500, 65_000)
        let now = Instant(nanoseconds: 1_000_000_000)
        let outcome = span(&watch, &count, &heard, from: now, lost: { $0 % 10 == 5 })
        #expect(outcome?.fault == .dropping)
    }

    @Test("bunches and floods are faults")
    func bunches() {
        var (count, heard): (UInt32, UInt16) = (0, 0)
        let now = Instant(nanoseconds: 1_000_000_000)
        var bunching = watch()
        let bunched = span(&bunching, &count, &heard, from: now, slotOf: { $0 / 10 * 10 })
        #expect(bunched?.fault == .bunching)
        var jittering = watch()
        let jittered = span(&jittering, &count, &heard, from: now, slotOf: { $0 / 2 * 2 })
        #expect(jittered?.fault == nil)
        var flooding = watch()
        let flooded = span(&flooding, &count, &heard, from: now, padding: 400)
        #expect(flooded?.fault == .flooding)
    }

    @Test("cells that overtake each other are a fault")
    func reordering() {
        var watch = watch()
        let now = Instant(nanoseconds: 1_000_000_000)
        for pair in 0..<500 as Range<UInt32> {
            for count in [pair * 2 + 1, pair * 2] {
                watch.noteSlot(UInt64(pair) * 2)
                watch.noteSent()
                watch.noteReceived(count, heard: UInt16(count), slot: UInt64(pair) * 2)
            }
        }
        let outcome = watch.judge(now: now + Self.span)
        #expect(outcome?.fault == .reordering)
    }
}
