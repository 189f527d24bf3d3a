public import CryptoPrimitives
import Workloads

/// When cells are sent: models of single flows, for comparison with each other and with networks.
///
/// Cells are of one size, observers see every one of them, and clocks are perfect. Queues are without
/// bound: what a process cannot carry shows as delay, and as cells that are not there at the end.
public enum SendingProcess: Hashable, Sendable {
    /// Every cell goes at once, and is delayed on its way.
    case direct(DelayLaw)
    /// A sender that draws exponential times and sends what waits, else cover; loops besides, and
    /// delays on the way. Answers to a client come from such a sender at the exit, whose cover does
    /// not go to the client.
    case poisson(cellsPerSecond: Double, loopsPerSecond: Double, DelayLaw)
    /// Cells at a constant rate, each client's at times of its own, then jitter.
    case constant(cellsPerSecond: Double, DelayLaw)
    /// A rate that follows the load on a ladder, filled with cover, then jitter.
    case ladder(RateLadder, DelayLaw)
    /// One cell in each slot of a grid all clients share.
    case slots(SlotGrid)

    /// What the adversary believes of delays between client's link and exit, going forward.
    public var law: DelayLaw {
        switch self {
        case .direct(let law), .poisson(_, _, let law), .constant(_, let law), .ladder(_, let law):
            law
        case .slots(let grid): grid.law
        }
    }

    /// Carries cells from the exit to the client.
    ///
    /// - Parameter arrivals: when they come to the exit, in seconds, in order.
    public func download(
        _ arrivals: [Double],
        seconds: Double,
        random: inout RandomGenerator
    ) -> Passage {
        var passage = Passage(realCount: arrivals.count)
        passage.exit = FlowTrace(times: arrivals)
        switch self {
        case .direct(let law):
            deliver(arrivals.map { ($0, $0) }, law, seconds, &passage, &random)
        case .poisson(let rate, let loops, let law):
            let ticks = Self.poissonTimes(rate: rate, seconds: seconds, random: &random)
            let sent = Self.assign(arrivals, to: ticks).compactMap { tick in
                tick.real.map { (tick.time, arrivals[$0]) }
            }
            deliver(sent, law, seconds, &passage, &random)
            let own = Self.poissonTimes(rate: loops, seconds: seconds, random: &random)
            passage.link = FlowTrace(times: passage.link.times + own)
        case .constant(let rate, let law):
            let ticks = Self.constantTimes(rate: rate, seconds: seconds, random: &random)
            deliver(Self.assign(arrivals, to: ticks), arrivals, law, seconds, &passage, &random)
        case .ladder(let ladder, let law):
            let ticks = ladder.ticks(for: arrivals, seconds: seconds, random: &random)
            deliver(ticks, arrivals, law, seconds, &passage, &random)
        case .slots(let grid):
            grid.download(arrivals, seconds: seconds, into: &passage, random: &random)
        }
        passage.causes = passage.exit.times
        return passage
    }

    /// Which cells a client sends.
    public enum Load: Hashable, Sendable {
        /// Those it has at these times, in seconds, in order; each waits for its turn.
        case at([Double])
        /// So many of those it sends anyway, chosen by chance: as of a sender that always has some
        /// waiting. A cell that finds nothing waiting tells less: the gap before it is longer than
        /// others, which hides what the cell itself would show.
        case chosen(Int)
    }

    /// Carries cells from the client to the exit.
    ///
    /// - Parameters:
    ///   - load: which cells.
    ///   - passes: when a cell that passes the client's link at a time goes on behind the guard;
    ///     `nil` where it is dropped there.
    public func upload(
        _ load: Load,
        seconds: Double,
        random: inout RandomGenerator,
        passes: (Double, inout RandomGenerator) -> Double? = { time, _ in time }
    ) -> Passage {
        let wanted: [Double]
        let ticks: [Tick]
        switch self {
        case .direct:
            wanted = Self.times(of: load, seconds: seconds, random: &random)
            ticks = wanted.indices.map { Tick(time: wanted[$0], real: $0) }
        case .poisson(let rate, let loops, _):
            let times = Self.poissonTimes(rate: rate, seconds: seconds, random: &random)
            let own = Self.poissonTimes(rate: loops, seconds: seconds, random: &random)
            wanted = Self.times(of: load, among: times, random: &random)
            ticks =
                (Self.assign(wanted, to: times) + own.map { Tick(time: $0, real: nil) })
                .sorted { $0.time < $1.time }
        case .constant(let rate, _):
            let times = Self.constantTimes(rate: rate, seconds: seconds, random: &random)
            wanted = Self.times(of: load, among: times, random: &random)
            ticks = Self.assign(wanted, to: times)
        case .ladder(let ladder, _):
            if case .at(let times) = load {
                wanted = times
                ticks = ladder.ticks(for: wanted, seconds: seconds, random: &random)
            } else {
                let idle = ladder.ticks(for: [], seconds: seconds, random: &random).map(\.time)
                wanted = Self.times(of: load, among: idle, random: &random)
                ticks = Self.assign(wanted, to: idle)
            }
        case .slots(let grid):
            wanted = Self.times(of: load, among: grid.dataTimes(seconds), random: &random)
            return grid.upload(wanted, seconds: seconds, random: &random, passes: passes)
        }
        var passage = Passage(realCount: wanted.count)
        passage.link = FlowTrace(times: ticks.map(\.time))
        passage.causes = passage.link.times
        var leaving: [Double] = []
        for tick in ticks {
            guard let real = tick.real, let onward = passes(tick.time, &random) else { continue }
            let time = onward + law.draw(random: &random)
            guard time < seconds else { continue }
            leaving.append(time)
            passage.delays.append(time - wanted[real])
        }
        passage.exit = FlowTrace(times: leaving)
        return passage
    }

    /// A moment something is sent, and which real cell it is; `nil` for cover.
    struct Tick: Hashable {
        var time: Double
        var real: Int?
    }

    private static func times(
        of load: Load,
        seconds: Double,
        random: inout RandomGenerator
    ) -> [Double] {
        switch load {
        case .at(let times): return times
        case .chosen(let count):
            var times: [Double] = []
            for _ in 0..<count { times.append(random.unit() * seconds) }
            return times.sorted()
        }
    }

    private static func times(
        of load: Load,
        among sent: [Double],
        random: inout RandomGenerator
    ) -> [Double] {
        switch load {
        case .at(let times): return times
        case .chosen(let count):
            var rest = sent
            let count = min(count, rest.count)
            for index in 0..<count {
                let other = index + Int(random.next(below: UInt64(rest.count - index)))
                rest.swapAt(index, other)
            }
            return rest[..<count].sorted()
        }
    }

    /// Gives real cells to ticks: the first waiting one to each, if there is one.
    static func assign(_ arrivals: [Double], to times: [Double]) -> [Tick] {
        var next = 0
        return times.map { time in
            guard next < arrivals.count, arrivals[next] <= time else {
                return Tick(time: time, real: nil)
            }
            defer { next += 1 }
            return Tick(time: time, real: next)
        }
    }

    private func deliver(
        _ ticks: [Tick],
        _ arrivals: [Double],
        _ law: DelayLaw,
        _ seconds: Double,
        _ passage: inout Passage,
        _ random: inout RandomGenerator
    ) {
        var times: [Double] = []
        times.reserveCapacity(ticks.count)
        for tick in ticks {
            let time = tick.time + law.draw(random: &random)
            guard time < seconds else { continue }
            times.append(time)
            if let real = tick.real { passage.delays.append(time - arrivals[real]) }
        }
        passage.link = FlowTrace(times: times)
    }

    private func deliver(
        _ sent: [(time: Double, arrival: Double)],
        _ law: DelayLaw,
        _ seconds: Double,
        _ passage: inout Passage,
        _ random: inout RandomGenerator
    ) {
        var times: [Double] = []
        times.reserveCapacity(sent.count)
        for cell in sent {
            let time = cell.time + law.draw(random: &random)
            guard time < seconds else { continue }
            times.append(time)
            passage.delays.append(time - cell.arrival)
        }
        passage.link = FlowTrace(times: times)
    }

    static func poissonTimes(
        rate: Double,
        seconds: Double,
        random: inout RandomGenerator
    ) -> [Double] {
        guard rate > 0 else { return [] }
        var times: [Double] = []
        var time = random.exponential(mean: 1 / rate)
        while time < seconds {
            times.append(time)
            time += random.exponential(mean: 1 / rate)
        }
        return times
    }

    static func constantTimes(
        rate: Double,
        seconds: Double,
        random: inout RandomGenerator
    ) -> [Double] {
        let phase = random.unit() / rate
        return (0..<Int(seconds * rate)).map { phase + Double($0) / rate }.filter { $0 < seconds }
    }
}
