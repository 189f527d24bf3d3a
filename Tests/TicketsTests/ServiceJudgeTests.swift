import Testing
import Wire

@testable import Tickets

@Suite("A circuit is judged by what its hops report")
struct ServiceJudgeTests {
    /// Reports of three hops, each way so many cells, of which those between hops 2 and 3 lose some.
    private func reports(
        _ cells: UInt32,
        lostForward: UInt32 = 0,
        lostBackward: UInt32 = 0,
        drops: UInt16 = 0
    ) -> [HopReport] {
        let arrived = cells - lostForward
        let returned = cells - lostBackward
        return [
            HopReport(
                paidTicks: 0,
                forwardIn: cells,
                forwardOut: cells,
                backwardIn: returned,
                backwardOut: returned
            ),
            HopReport(
                paidTicks: 0,
                forwardIn: cells,
                forwardOut: cells,
                backwardIn: returned,
                backwardOut: returned,
                queueDrops: drops
            ),
            HopReport(
                paidTicks: 0,
                forwardIn: arrived,
                forwardOut: 0,
                backwardIn: 0,
                backwardOut: cells
            ),
        ]
    }

    private func verdicts(_ steps: [[HopReport]]) -> [ServiceJudge.Verdict?] {
        var judge = ServiceJudge()
        for (offset, report) in reports(0).enumerated() { judge.note(report, at: offset) }
        return steps.map { step in
            for (offset, report) in step.enumerated() { judge.note(report, at: offset) }
            return judge.judge()
        }
    }

    @Test("5 % are borne each way, and what is on the way; more is bad, and the third time the end")
    func loss() {
        #expect(verdicts([reports(1_000, lostForward: 82)]) == [.good])
        #expect(verdicts([reports(1_000, lostBackward: 82)]) == [.good])
        #expect(verdicts([reports(1_000, lostForward: 83)]) == [.bad(between: 2, 3)])
        #expect(verdicts([reports(1_000, lostBackward: 83)]) == [.bad(between: 2, 3)])
        let steps = (1...3).map { reports(1_000 * $0, lostForward: 200 * $0) }
        #expect(
            verdicts(steps)
                == [.bad(between: 2, 3), .bad(between: 2, 3), .leave(between: 2, 3)]
        )
    }

    @Test("a full queue excuses a fifth, three times in a row")
    func excuse() {
        let steps = (1...4).map {
            reports(1_000 * $0, lostForward: 200 * $0, drops: UInt16(200 * $0))
        }
        #expect(verdicts(steps) == [.good, .good, .good, .bad(between: 2, 3)])
        #expect(
            verdicts([reports(1_000, lostForward: 600, drops: 600)]) == [.bad(between: 2, 3)]
        )
    }

    @Test("nothing is judged by few cells, or before all hops have spoken")
    func patience() {
        #expect(verdicts([reports(100, lostForward: 100)]) == [nil])
        var judge = ServiceJudge()
        judge.note(reports(1_000)[0], at: 0)
        #expect(judge.judge() == nil)
    }
}
