import Glibc

/// Counting volumes: whether as much came out at an exit as went in at a guard.
public enum VolumeCount {
    /// Scores every pair by how near the volumes are, as a ratio; 0 is equal, less is worse.
    public static func scores(exits: [FlowTrace], links: [FlowTrace]) -> ScoreMatrix {
        let first = exits.map { log(1 + $0.volume) }
        let second = links.map { log(1 + $0.volume) }
        return ScoreMatrix(count: min(first.count, second.count)) { flow, client in
            -abs(first[flow] - second[client])
        }
    }

    /// How well volumes at exits are known to who counts on links: the factor within which 19 of 20
    /// are, after the best straight line between the logarithms of both.
    ///
    /// 1 is exactly; `nil` for fewer than three flows, or where nothing was carried.
    public static func uncertainty(exits: [FlowTrace], links: [FlowTrace]) -> Double? {
        let pairs = zip(links, exits).filter { $0.volume > 0 && $1.volume > 0 }
            .map { (log($0.volume), log($1.volume)) }
        guard pairs.count >= 3 else { return nil }
        let n = Double(pairs.count)
        let (meanX, meanY) = (
            pairs.reduce(0) { $0 + $1.0 } / n, pairs.reduce(0) { $0 + $1.1 } / n
        )
        var (xx, xy) = (0.0, 0.0)
        for (x, y) in pairs {
            xx += (x - meanX) * (x - meanX)
            xy += (x - meanX) * (y - meanY)
        }
        let slope = xx > 1e-12 ? xy / xx : 0
        let errors = pairs.map { abs($0.1 - meanY - slope * ($0.0 - meanX)) }.sorted()
        return exp(errors[Int(0.95 * Double(errors.count - 1))])
    }
}
