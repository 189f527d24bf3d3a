public import CryptoPrimitives
import Workloads

/// Guards that drop or delay in a pattern and look for it at exits.
public struct ActiveExperiment: Sendable {
    /// What an interference came to.
    public struct Outcome: Codable, Hashable, Sendable {
        /// The way of sending.
        public var name: String
        /// What the guard did, for people.
        public var interference: String
        /// How well the pattern was found.
        public var verdict: Verdict
        /// The share of cells it cost; 0 where it only delays.
        public var lossShare: Double
        /// The mean delay it added, in seconds.
        public var addedDelay: Double
        /// The share of clients whose own watch found their guard to break the schedule.
        public var noticedShare: Double
        /// Whether most of them did.
        ///
        /// Where no schedule is kept nobody watches.
        public var isNoticed: Bool { noticedShare > 0.5 }
    }

    /// Clients, each with a pattern of its own.
    public var clients: Int
    /// Seconds of the pattern.
    public var seconds: Double
    /// Real cells each client sends a second, evenly.
    public var cellsPerSecond: Double

    /// A call of 20 cells/s.
    public init(clients: Int, seconds: Double, cellsPerSecond: Double = 20) {
        self.clients = clients
        self.seconds = seconds
        self.cellsPerSecond = cellsPerSecond
    }

    /// What guards are tried with: drops below, at and far above the alarm, and a delay.
    public static let interferences: [(title: String, Watermark.Interference)] = [
        ("drops 2 % in marked seconds", .drop(share: 0.02)),
        ("drops 10 % in marked seconds", .drop(share: 0.1)),
        ("drops half in marked seconds", .drop(share: 0.5)),
        ("delays marked seconds by 300 ms", .delay(seconds: 0.3)),
    ]

    /// Runs one interference against one way of sending.
    public func run(
        _ known: KnownProcess,
        _ title: String,
        _ interference: Watermark.Interference,
        random: inout RandomGenerator
    ) -> Outcome {
        var patterns: [Watermark] = []
        var exits: [FlowTrace] = []
        var (loss, delay) = (0.0, 0.0)
        var noticed = 0
        for _ in 0..<clients {
            let pattern = Watermark(seconds: seconds, chipSeconds: 1, random: &random)
            let phase = random.unit() / cellsPerSecond
            let wanted = (0..<Int(seconds * cellsPerSecond)).map {
                phase + Double($0) / cellsPerSecond
            }
            var passed: [Double?] = []
            let passage = known.process.upload(.at(wanted), seconds: seconds, random: &random) {
                let goesOn = pattern.passes(interference, $0, random: &$1)
                passed.append(goesOn)
                return goesOn
            }
            if case .slots(let grid) = known.process,
                ScheduleJudgement(grid).findsFault(passed, random: &random)
            {
                noticed += 1
            }
            patterns.append(pattern)
            exits.append(passage.exit)
            switch interference {
            case .drop(let share): loss += pattern.lossShare(of: share)
            case .delay(let seconds): delay += pattern.lossShare(of: seconds)
            }
        }
        let scores = Watermark.scores(exits: exits, patterns: patterns, mostDelay: 1)
        let mean = loss / Double(max(1, clients))
        return Outcome(
            name: known.name,
            interference: title,
            verdict: Verdict(scores, random: &random),
            lossShare: mean,
            addedDelay: delay / Double(max(1, clients)),
            noticedShare: Double(noticed) / Double(max(1, clients))
        )
    }
}
