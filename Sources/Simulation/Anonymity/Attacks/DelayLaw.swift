public import CryptoPrimitives
import Glibc
import Workloads

/// How long a cell takes between two places, as an adversary believes.
public enum DelayLaw: Hashable, Sendable {
    /// The sum of `hops` exponential delays of this mean in seconds, after `base` seconds.
    case exponential(mean: Double, hops: Int, base: Double)
    /// The sum of `hops` delays uniform in 0..<`most` seconds, after `base` seconds; 1...4 hops.
    case uniform(most: Double, hops: Int, base: Double)
    /// Normal jitter around `mean` seconds.
    case normal(mean: Double, deviation: Double)
    /// Anything from `least` to `most` seconds, equally likely.
    case between(least: Double, most: Double)

    /// The density at `delay` seconds, per second.
    public func density(at delay: Double) -> Double {
        switch self {
        case .exponential(let mean, let hops, let base):
            let t = delay - base
            guard t >= 0 else { return 0 }
            let factorial = (1..<max(2, hops)).reduce(1.0) { $0 * Double($1) }
            return pow(t / mean, Double(hops - 1)) * exp(-t / mean) / mean / factorial
        case .uniform(let most, let hops, let base):
            return Self.irwinHall((delay - base) / most, hops) / most
        case .normal(let mean, let deviation):
            let z = (delay - mean) / deviation
            return exp(-z * z / 2) / deviation / sqrt(2 * .pi)
        case .between(let least, let most):
            return delay >= least && delay < most ? 1 / (most - least) : 0
        }
    }

    /// Draws a delay, in seconds; never below 0.
    public func draw(random: inout RandomGenerator) -> Double {
        switch self {
        case .exponential(let mean, let hops, let base):
            var sum = base
            for _ in 0..<hops { sum += random.exponential(mean: mean) }
            return sum
        case .uniform(let most, let hops, let base):
            var sum = base
            for _ in 0..<hops { sum += most * random.unit() }
            return sum
        case .normal(let mean, let deviation):
            return max(0, mean + deviation * random.normal())
        case .between(let least, let most):
            return least + (most - least) * random.unit()
        }
    }

    /// The delays that matter, in seconds: beyond, the density is 0 or below a millionth of its most.
    public var support: ClosedRange<Double> {
        switch self {
        case .exponential(let mean, let hops, let base):
            base...base + mean * (14 + 6 * Double(hops))
        case .uniform(let most, let hops, let base): base...base + most * Double(hops)
        case .normal(let mean, let deviation): mean - 6 * deviation...mean + 6 * deviation
        case .between(let least, let most): least...most
        }
    }

    /// The density of a sum of `count` numbers uniform in 0..<1.
    private static func irwinHall(_ x: Double, _ count: Int) -> Double {
        guard x >= 0, x <= Double(count) else { return 0 }
        var (sum, binomial, factorial) = (0.0, 1.0, 1.0)
        for k in 0...count {
            guard Double(k) <= x else { break }
            let power = count == 1 ? 1 : pow(x - Double(k), Double(count - 1))
            sum += (k.isMultiple(of: 2) ? 1 : -1) * binomial * power
            binomial = binomial * Double(count - k) / Double(k + 1)
        }
        for k in 1..<max(2, count) { factorial *= Double(k) }
        return max(0, sum / factorial)
    }
}
