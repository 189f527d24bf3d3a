import Base
import ClientCore
import ControlAPI
import Testing

@testable import NodeRuntime

@Suite("How far an attempt to connect has come")
struct ConnectionAttemptTests {
    private func at(_ seconds: UInt64) -> Instant { .zero + .seconds(seconds) }

    @Test("it goes forward only, and says since when it stands")
    func forward() {
        var attempt = ConnectionAttempt(at: .directory, now: at(10))
        // The guard of the third note was given up, and another one is tried: no further than before.
        let steps: [(ConnectionAttempt.Step, UInt64)] = [
            (.link, 11), (.circuit, 12), (.link, 14), (.circuit, 16),
        ]
        let cameFurther = steps.map { attempt.note($0.0, now: at($0.1)) }
        #expect(cameFurther == [true, true, false, false])
        let stuck = attempt.progress(now: at(20))
        #expect(stuck.percent == 70)
        #expect(stuck.stage == "circuit")
        #expect(stuck.elapsed == 10_000)
        #expect(stuck.unchanged == 8_000)
        _ = attempt.note(.addresses, now: at(21))
        #expect(attempt.progress(now: at(21)).unchanged == 0)
    }

    @Test("stages have rising percentages, from no network to the exit's addresses")
    func steps() {
        let steps = [.offline, .link, .keys, .circuit, .addresses].map {
            ConnectionAttempt.Step($0).rawValue
        }
        #expect(steps == steps.sorted())
        #expect(steps.allSatisfy { (1..<100).contains($0) })
        #expect(ConnectionAttempt.Step(nil) == .link)
    }
}
