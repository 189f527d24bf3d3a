import Anonymity
import CryptoPrimitives
import Simulation
import Workloads

/// The parts of ``AnonymityCommand`` that need no lab.
struct AnonymityBench {
    let traffic: CrowdTraffic
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
            guard mode == .fast else {
                throw LabError(
                    "the simulated crowd has no mode \(mode.rawValue)",
                    why: "its nodes do not pad or mix yet; their models are in the report"
                )
            }
            var random = traffic.random(2)
            let transfers = traffic.transfers(seconds: Double(seconds), random: &random)
            let crowd = try Crowd(
                CrowdSettings(seed: traffic.seed, seconds: seconds, transfers: transfers)
            )
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
            report.processes.append(
                result(
                    of: crowd,
                    mode: mode,
                    seconds: Double(seconds)
                )
            )
            if report.collusion.isEmpty { report.collusion = Self.collusion(crowd) }
        }
    }

    private func result(of crowd: Crowd, mode: Topology.Mode, seconds: Double) -> ProcessResult {
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
        let (exits, links) = (crowd.exits(.backward), crowd.links(.backward))
        result.attacks = RateExperiment(seconds: seconds).attacks(
            exits: exits,
            links: links,
            random: &random
        )
        result.volumeFactor = VolumeCount.uncertainty(exits: exits, links: links)
        // What goes to the exit, cell by cell: three ways of 10 ms with up to 2 ms of jitter each, and
        // what queues add.
        let (sent, left) = (crowd.links(.forward), crowd.exits(.forward))
        let scores = TimingAttack(.between(least: 0.028, most: 0.045)).scores(
            leaving: left.map(\.times),
            sent: sent.map(\.times),
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
