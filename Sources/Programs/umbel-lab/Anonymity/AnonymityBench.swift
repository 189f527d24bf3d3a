import Anonymity
import CryptoPrimitives
import Simulation
import Wire
import Workloads

/// The parts of ``AnonymityCommand`` that need no lab.
struct AnonymityBench {
    let traffic: CrowdTraffic
    /// The percentage of datagrams lost on links of the simulated crowd's clients, each way.
    var loss = 0.0
    let progress: Progress

    /// Attacks the models of all known ways of sending.
    func runModels(_ report: inout AnonymityReport, exporter: CorrelatorExport?) throws {
        var random = traffic.random(1)
        let experiment = traffic.experiment(random: &random)
        let cells = experiment.downloads.reduce(0) { $0 + $1.count }
        progress.say(
            "models: \(traffic.clients) clients, \(Int(traffic.seconds)) s of \(traffic.title), "
                + "\(cells) cells down"
        )
        for (index, known) in KnownProcess.all.enumerated() {
            var own = traffic.random(10 + UInt8(index))
            report.processes.append(experiment.run(known, random: &own))
            progress.say("\(known.title) (\(index + 1) of \(KnownProcess.all.count))")
            if let exporter {
                let traces = experiment.downloadTraces(known.process, random: &own)
                try exporter.add(known.name, exits: traces.exits, links: traces.links)
            }
        }
        for (index, known) in KnownProcess.timingSeries.enumerated() {
            var own = traffic.random(40 + UInt8(index))
            let verdicts = ModelExperiment.timingCounts.map { count in
                let timing = experiment.timing(known.process, count: count, random: &own)
                return Verdict(timing.scores, calibration: .likelihood, random: &own)
            }
            report.timing.append(.init(title: known.title, verdicts: verdicts))
        }
        progress.say("fine timing of \(KnownProcess.timingSeries.count) senders")
        let active = ActiveExperiment(clients: min(traffic.clients, 60), seconds: 300)
        for known in [KnownProcess.fast, .padded, .mix] {
            for (title, interference) in ActiveExperiment.interferences {
                var own = traffic.random(70)
                report.active.append(active.run(known, title, interference, random: &own))
            }
        }
        let longTerm = LongTermExperiment(clients: traffic.clients, days: 60)
        for habit in LongTermExperiment.Habit.allCases {
            var own = traffic.random(80)
            report.longTerm.append(longTerm.run(habit, random: &own))
        }
        progress.say("guards that drop and delay; watchers of beginnings, ends and days")
    }

    /// Attacks a crowd of the product's own nodes in virtual time, in each mode.
    func runSimulation(
        _ report: inout AnonymityReport,
        seconds: Int,
        modes: [Topology.Mode]
    ) throws {
        for mode in modes {
            var random = traffic.random(2)
            let transfers = traffic.transfers(seconds: Double(seconds), random: &random)
            var settings = CrowdSettings(
                seed: traffic.seed,
                seconds: seconds,
                transfers: transfers
            )
            settings.shape = Self.shape(mode)
            settings.accessLoss = accessLoss
            let crowd = try Crowd(settings)
            progress.say("simulation: \(traffic.clients) clients in \(mode.rawValue) connect")
            do throws(Crowd.Fault) {
                try crowd.run { passed in
                    progress.say(
                        "\(passed) of \(seconds) virtual s, \(crowd.world.report.datagrams) datagrams"
                    )
                }
            } catch {
                throw LabError("the simulated crowd failed", why: "\(error)")
            }
            let missed = crowd.recording.droppedCount
            guard missed == 0 else {
                throw LabError(
                    "the crowd did more than can be kept",
                    why: "\(missed) datagrams came after \(Recording.limit) were kept",
                    hint: "fewer --clients or --crowd-seconds"
                )
            }
            let quiet = try quietCrowd(mode)
            report.processes.append(
                result(of: crowd, quiet: quiet, mode: mode, seconds: Double(seconds))
            )
            if report.collusion.isEmpty { report.collusion = Self.collusion(crowd) }
        }
    }

    /// In 10,000 datagrams.
    private var accessLoss: UInt64 { UInt64((loss * 100).rounded()) }

    /// Clients that send a packet a second and nothing else: what a single one costs in time, how
    /// many of them are lost, and what an idle link looks like.
    private func quietCrowd(_ mode: Topology.Mode) throws -> Crowd {
        var settings = CrowdSettings(
            seed: traffic.seed,
            seconds: 60,
            transfers: [[Transfer]](repeating: [], count: min(traffic.clients, 60))
        )
        settings.shape = Self.shape(mode)
        settings.accessLoss = accessLoss
        let crowd = try Crowd(settings)
        do throws(Crowd.Fault) {
            try crowd.run()
        } catch {
            throw LabError("the quiet crowd failed", why: "\(error)")
        }
        return crowd
    }

    private func result(
        of crowd: Crowd,
        quiet: Crowd,
        mode: Topology.Mode,
        seconds: Double
    ) -> ProcessResult {
        var random = traffic.random(3)
        var result = ProcessResult(
            name: mode.rawValue,
            title: "\(mode.rawValue), production cores in virtual time",
            isOurs: true,
            source: "simulation",
            clients: traffic.clients,
            seconds: seconds,
            cost: crowd.cost(cellByteCount: CellLine().cellByteCount)
        )
        let idle = quiet.cost(cellByteCount: CellLine().cellByteCount)
        result.cost.idleDelayMedian = idle.idleDelayMedian
        result.cost.idleDelayP95 = idle.idleDelayP95
        result.cost.lossShare = idle.lossShare
        let (exits, links) = (crowd.exits(.backward), crowd.links(.backward))
        result.attacks = RateExperiment(seconds: seconds).attacks(
            exits: exits,
            links: links,
            random: &random
        )
        result.attacks += RateExperiment(seconds: seconds).attacksBetween(
            exits: exits,
            links: crowd.middleLinks(.backward),
            random: &random
        )
        result.volumeFactor = VolumeCount.uncertainty(exits: exits, links: links)
        let volumes = exits.map(\.volume)
        if let busy = volumes.indices.max(by: { volumes[$0] < volumes[$1] }),
            let idle = quiet.links(.backward).first
        {
            let test = KolmogorovSmirnov(
                Array(idle.gaps.prefix(2_000)),
                Array(links[busy].gaps.prefix(2_000))
            )
            result.idleBusyDistance = test?.distance ?? 1
            result.idleBusyProbability = test?.probability ?? 0
        }
        let left = crowd.exits(.forward)
        let scores = TimingAttack(Self.law(mode)).scores(
            leaving: left.map(\.times),
            guesses: crowd.causes(),
            seconds: seconds
        )
        let cells = left.reduce(0) { $0 + $1.times.count } / max(1, left.count)
        result.attacks.append(
            RateExperiment.result(
                "timing",
                "\(cells) packets",
                scores,
                calibration: .likelihood,
                random: &random
            )
        )
        return result
    }

    private static func shape(_ mode: Topology.Mode) -> TrafficShape {
        switch mode {
        case .fast: .fast
        case .padded: .padded
        case .mix: .mix(.tenMilliseconds)
        }
    }

    /// How long a cell takes from the client's link to the exit's far side: three ways of 10 ms with up
    /// to 2 ms of jitter each and what queues add; in `mix` a slot of 10 ms at the guard and a hold of
    /// 5 to 24 of them besides.
    private static func law(_ mode: Topology.Mode) -> DelayLaw {
        mode == .mix ? .between(least: 0.08, most: 0.33) : .between(least: 0.028, most: 0.045)
    }

    private static func collusion(_ crowd: Crowd) -> [AnonymityReport.CollusionRow] {
        let relays = crowd.world.relays.count
        return (1...4).map { count in
            let set = ColludingSet.worst(count, against: crowd.paths)
            return AnonymityReport.CollusionRow(
                relays: count,
                of: relays,
                bothEnds: set.shareSeenAtBothEnds(of: crowd.paths)
            )
        }
    }
}
