import CryptoPrimitives
import Workloads

/// A sending rate that follows the load, on few rungs and slowly, so that volume shows only coarsely.
///
/// Up as many rungs as it takes when what waits would take longer than `patienceSeconds`; down one
/// rung when nothing waits after `holdSeconds` and an exponential time of `holdMeanSeconds`, if what
/// was real in that time fits the rung below; then, or if not, another time is drawn.
public struct RateLadder: Hashable, Sendable {
    /// Cells a second of each rung, rising.
    public var rungs: [Double]
    /// Seconds of backlog that are borne.
    public var patienceSeconds: Double
    /// Seconds at least before a step down.
    public var holdSeconds: Double
    /// Mean of what is added to them, exponential.
    public var holdMeanSeconds: Double

    /// The ladder of `padded` (protocol text, D): 16, 64, 256 and 1,024 cells/s, 250 ms, 0.5 s + exp(1 s).
    public static let padded = RateLadder(
        rungs: [16, 64, 256, 1_024],
        patienceSeconds: 0.25,
        holdSeconds: 0.5,
        holdMeanSeconds: 1
    )

    /// Another ladder.
    ///
    /// - Precondition: there is a rung, and all are above 0 and rise.
    public init(
        rungs: [Double],
        patienceSeconds: Double,
        holdSeconds: Double,
        holdMeanSeconds: Double
    ) {
        precondition(
            rungs.first.map { $0 > 0 } == true && zip(rungs, rungs.dropFirst()).allSatisfy(<),
            "rungs rise from above zero"
        )
        self.rungs = rungs
        self.patienceSeconds = patienceSeconds
        self.holdSeconds = holdSeconds
        self.holdMeanSeconds = holdMeanSeconds
    }

    func ticks(
        for arrivals: [Double],
        seconds: Double,
        random: inout RandomGenerator
    ) -> [SendingProcess.Tick] {
        var ticks: [SendingProcess.Tick] = []
        var (rung, next, seen) = (0, 0, 0)
        var time = random.unit() / rungs[0]
        var (drawnAt, downAt, realSince) = (time, Double.infinity, 0)
        while time < seconds {
            while seen < arrivals.count, arrivals[seen] <= time { seen += 1 }
            if seen > next {
                ticks.append(SendingProcess.Tick(time: time, real: next))
                next += 1
                realSince += 1
            } else {
                ticks.append(SendingProcess.Tick(time: time, real: nil))
            }
            let waiting = Double(seen - next)
            let before = rung
            while waiting / rungs[rung] > patienceSeconds, rung + 1 < rungs.count { rung += 1 }
            if rung == before, rung > 0, time >= downAt {
                if waiting == 0, Double(realSince) <= rungs[rung - 1] * (time - drawnAt) {
                    rung -= 1
                }
                downAt = .infinity
            }
            if rung > 0, rung > before || downAt == .infinity {
                downAt = time + holdSeconds + random.exponential(mean: holdMeanSeconds)
                (drawnAt, realSince) = (time, 0)
            }
            time += 1 / rungs[rung]
        }
        return ticks
    }
}
