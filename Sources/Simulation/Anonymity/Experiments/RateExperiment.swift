public import CryptoPrimitives

/// Attacks on whole downloads: what passed exits against what passed clients' links.
public struct RateExperiment: Sendable {
    /// Seconds watched.
    public var seconds: Double
    /// How late on the link something may be, in seconds.
    public var mostDelay: Double

    /// Attacks on what was watched for `seconds`.
    public init(seconds: Double, mostDelay: Double = 3) {
        self.seconds = seconds
        self.mostDelay = mostDelay
    }

    /// Every attack on rates and volumes; flow i at the exits is of client i.
    public func attacks(
        exits: [FlowTrace],
        links: [FlowTrace],
        random: inout RandomGenerator
    ) -> [AttackResult] {
        var results = correlations("rates", exits: exits, links: links, random: &random)
        // Bits a bin in wide bins: narrow ones hold too little of a flow to sort into levels.
        let information = MutualInformation().scores(
            earlier: exits,
            later: links,
            width: 2,
            mostDelay: mostDelay,
            until: seconds
        )
        results.append(Self.result("information", "bins of 2.0 s", information, random: &random))
        results.append(
            Self.result(
                "volume",
                "all of it",
                VolumeCount.scores(exits: exits, links: links),
                random: &random
            )
        )
        return results
    }

    /// Attacks by who sees exits and the links between guards and middles, and knows which clients'
    /// circuits go over each: `links` are those of each client's path.
    ///
    /// Clients who share a link are not told apart: such pairs tie.
    public func attacksBetween(
        exits: [FlowTrace],
        links: [FlowTrace],
        random: inout RandomGenerator
    ) -> [AttackResult] {
        correlations("between", exits: exits, links: links, random: &random)
    }

    private func correlations(
        _ attack: String,
        exits: [FlowTrace],
        links: [FlowTrace],
        random: inout RandomGenerator
    ) -> [AttackResult] {
        LagCorrelation.widths.map { width in
            let scores = LagCorrelation.scores(
                earlier: exits,
                later: links,
                width: width,
                mostDelay: mostDelay,
                until: seconds
            )
            return Self.result(attack, "bins of \(width) s", scores, random: &random)
        }
    }

    /// Judges scores under a name.
    public static func result(
        _ attack: String,
        _ setting: String,
        _ scores: ScoreMatrix,
        calibration: Posterior.Calibration = .fitted,
        random: inout RandomGenerator
    ) -> AttackResult {
        AttackResult(
            attack: attack,
            setting: setting,
            verdict: Verdict(scores, calibration: calibration, random: &random),
            curve: scores.curve.map { [$0.falseRate, $0.trueRate] }
        )
    }
}
