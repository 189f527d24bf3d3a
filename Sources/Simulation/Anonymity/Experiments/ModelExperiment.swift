public import CryptoPrimitives
public import Workloads

/// A crowd behind one sending process, as a model: every attack, and what it costs.
public struct ModelExperiment: Sendable {
    /// Clients, all with flows of their own.
    public var clients: Int
    /// Seconds watched.
    public var seconds: Double
    /// When each client's downloaded cells come to the exit, in seconds.
    public var downloads: [[Double]]
    /// When each client has cells to send, in seconds.
    public var uploads: [[Double]]
    /// Bytes of payload in a cell.
    public var cellByteCount: Int

    /// Numbers of real cells the timing attack is given.
    public static let timingCounts = [30, 300, 3_000]

    /// A crowd that does `traffic`, from a seed.
    public init(
        clients: Int,
        seconds: Double,
        traffic: TrafficModel,
        line: CellLine = CellLine(),
        random: inout RandomGenerator
    ) {
        var transfers: [[Transfer]] = []
        for _ in 0..<clients {
            transfers.append(traffic.transfers(seconds: seconds, random: &random))
        }
        self.init(seconds: seconds, transfers: transfers, line: line)
    }

    /// A crowd of which client i does `transfers[i]`.
    public init(seconds: Double, transfers: [[Transfer]], line: CellLine = CellLine()) {
        clients = transfers.count
        self.seconds = seconds
        cellByteCount = line.cellByteCount
        downloads = transfers.map { line.downloadTimes(of: $0, before: seconds) }
        uploads = transfers.map { line.uploadTimes(of: $0, before: seconds) }
    }

    /// What observers see of the crowd's downloads.
    public func downloadTraces(
        _ process: SendingProcess,
        random: inout RandomGenerator
    ) -> (exits: [FlowTrace], links: [FlowTrace]) {
        var (exits, links): ([FlowTrace], [FlowTrace]) = ([], [])
        for arrivals in downloads {
            let passage = process.download(arrivals, seconds: seconds, random: &random)
            exits.append(passage.exit)
            links.append(passage.link)
        }
        return (exits, links)
    }

    /// Attacks on downloads, and what the process costs.
    public func run(_ known: KnownProcess, random: inout RandomGenerator) -> ProcessResult {
        let process = known.process
        var (exits, links): ([FlowTrace], [FlowTrace]) = ([], [])
        var delays: [Double] = []
        var (real, carried, wire) = (0, 0, 0)
        for client in 0..<clients {
            let down = process.download(downloads[client], seconds: seconds, random: &random)
            let up = process.upload(.at(uploads[client]), seconds: seconds, random: &random)
            exits.append(down.exit)
            links.append(down.link)
            delays += down.delays
            real += down.realCount + up.realCount
            carried += down.delays.count + up.delays.count
            wire += down.link.times.count + up.link.times.count
        }
        let time = Double(max(1, clients)) * seconds
        var cost = CostResult(
            throughputBitsPerSecond: Double(delays.count * cellByteCount * 8) / time,
            carriedShare: real > 0 ? Double(carried) / Double(real) : 1,
            overhead: carried > 0 ? Double(wire) / Double(carried) : 0
        )
        delays.sort()
        cost.delayMedian = CostResult.percentile(0.5, of: delays)
        cost.delayP95 = CostResult.percentile(0.95, of: delays)
        cost.delayP99 = CostResult.percentile(0.99, of: delays)
        var result = ProcessResult(
            name: known.name,
            title: known.title,
            isOurs: known.isOurs,
            source: "model",
            clients: clients,
            seconds: seconds,
            cost: cost
        )
        result.volumeFactor = VolumeCount.uncertainty(exits: exits, links: links)
        result.attacks = RateExperiment(seconds: seconds).attacks(
            exits: exits,
            links: links,
            random: &random
        )
        addTiming(process, to: &result, random: &random)
        addUniformity(process, busy: links, to: &result, random: &random)
        return result
    }

    /// The timing attack on `count` cells among ten minutes of cover.
    ///
    /// - Parameter waits: whether they are chosen among those sent; else each comes when nothing waits.
    public func timing(
        _ process: SendingProcess,
        count: Int,
        waits: Bool = true,
        seconds: Double = 600,
        random: inout RandomGenerator
    ) -> (scores: ScoreMatrix, passages: [Passage]) {
        var passages: [Passage] = []
        for _ in 0..<clients {
            var load = SendingProcess.Load.chosen(count)
            if !waits {
                var wanted: [Double] = []
                // Late ones would still be on their way at the end.
                for _ in 0..<count { wanted.append(random.unit() * (seconds - 2)) }
                load = .at(wanted.sorted())
            }
            passages.append(process.upload(load, seconds: seconds, random: &random))
        }
        let scores = TimingAttack(process.law).scores(
            leaving: passages.map(\.exit.times),
            sent: passages.map(\.causes),
            seconds: seconds
        )
        return (scores, passages)
    }

    private func addTiming(
        _ process: SendingProcess,
        to result: inout ProcessResult,
        random: inout RandomGenerator
    ) {
        for (count, waits) in Self.timingCounts.map({ ($0, true) }) + [(300, false)] {
            let (scores, passages) = timing(
                process,
                count: count,
                waits: waits,
                random: &random
            )
            result.attacks.append(
                RateExperiment.result(
                    waits ? "timing" : "timing-sparse",
                    "\(count) cells",
                    scores,
                    calibration: .likelihood,
                    random: &random
                )
            )
            guard !waits else { continue }
            let delays = passages.flatMap(\.delays).sorted()
            let real = passages.reduce(0) { $0 + $1.realCount }
            result.cost.idleDelayMedian = CostResult.percentile(0.5, of: delays)
            result.cost.idleDelayP95 = CostResult.percentile(0.95, of: delays)
            result.cost.lossShare = real > 0 ? 1 - Double(delays.count) / Double(real) : 0
        }
    }

    private func addUniformity(
        _ process: SendingProcess,
        busy: [FlowTrace],
        to result: inout ProcessResult,
        random: inout RandomGenerator
    ) {
        let idle = process.download([], seconds: seconds, random: &random).link.gaps
        guard let most = busy.max(by: { $0.times.count < $1.times.count }) else { return }
        // Thousands of gaps tell apart what no observer could use; two thousand are ten minutes' worth
        // of a slow link.
        let test = KolmogorovSmirnov(
            Array(idle.prefix(2_000)),
            Array(most.gaps.prefix(2_000))
        )
        result.idleBusyDistance = test?.distance ?? 1
        result.idleBusyProbability = test?.probability ?? 0
    }
}
