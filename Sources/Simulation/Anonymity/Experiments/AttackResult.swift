/// What one attack came to against one way of sending.
public struct AttackResult: Codable, Hashable, Sendable {
    /// The attack, such as `rates`.
    public var attack: String
    /// What it was set to, such as the width of its bins.
    public var setting: String
    /// What it came to.
    public var verdict: Verdict
    /// The curve of true against false positives: pairs of shares.
    public var curve: [[Double]]

    /// Names a verdict.
    public init(attack: String, setting: String, verdict: Verdict, curve: [[Double]]) {
        self.attack = attack
        self.setting = setting
        self.verdict = verdict
        self.curve = curve
    }
}

/// What a way of sending costs.
public struct CostResult: Codable, Hashable, Sendable {
    /// Bits of payload a client got a second, in the mean over clients and time.
    public var throughputBitsPerSecond: Double
    /// The share of what was to be carried that arrived before the end.
    public var carriedShare: Double
    /// Cells on the client's link for each real one, both ways.
    public var overhead: Double
    /// Seconds the way added to cells of downloads, waiting included, in the median; `nil` unmeasured.
    public var delayMedian: Double?
    /// What 95 % of them did not exceed.
    public var delayP95: Double?
    /// What 99 % of them did not exceed.
    public var delayP99: Double?
    /// Seconds the way added to single cells that found nothing waiting, as of a call; the median.
    public var idleDelayMedian: Double?
    /// What 95 % of those did not exceed.
    public var idleDelayP95: Double?
    /// The share of single cells that did not arrive.
    public var lossShare: Double?

    /// What a way of sending costs, nothing measured.
    public init(throughputBitsPerSecond: Double, carriedShare: Double, overhead: Double) {
        self.throughputBitsPerSecond = throughputBitsPerSecond
        self.carriedShare = carriedShare
        self.overhead = overhead
    }

    /// The value that `share` of `sorted` do not exceed; `nil` where there is none.
    public static func percentile(_ share: Double, of sorted: [Double]) -> Double? {
        guard !sorted.isEmpty else { return nil }
        return sorted[Int((Double(sorted.count - 1) * share).rounded())]
    }
}

/// All that was measured of one way of sending.
public struct ProcessResult: Codable, Hashable, Sendable {
    /// Its short name.
    public var name: String
    /// Its name for people.
    public var title: String
    /// Whether it is a mode of ours.
    public var isOurs: Bool
    /// Where it was measured: `model`, `simulation` or `lab`.
    public var source: String
    /// Clients in the crowd.
    public var clients: Int
    /// Seconds watched.
    public var seconds: Double
    /// The attacks.
    public var attacks: [AttackResult]
    /// What it costs.
    public var cost: CostResult
    /// The factor within which 19 of 20 volumes are known to who counts on links; `nil` unmeasured.
    public var volumeFactor: Double?
    /// How far apart gaps on links of an idle and a busy client are: Kolmogorov and Smirnov's distance.
    ///
    /// 1 where one of them sends nothing; `nil` unmeasured.
    public var idleBusyDistance: Double?
    /// The chance of that distance, were both the same; `nil` unmeasured.
    public var idleBusyProbability: Double?

    /// Nothing measured yet.
    public init(
        name: String,
        title: String,
        isOurs: Bool,
        source: String,
        clients: Int,
        seconds: Double,
        cost: CostResult
    ) {
        self.name = name
        self.title = title
        self.isOurs = isOurs
        self.source = source
        self.clients = clients
        self.seconds = seconds
        attacks = []
        self.cost = cost
    }

    /// The best the attack did, over its settings: an adversary takes the setting that serves it.
    public func best(_ attack: String) -> AttackResult? {
        attacks.filter { $0.attack == attack }.max { $0.verdict.auc < $1.verdict.auc }
    }
}
