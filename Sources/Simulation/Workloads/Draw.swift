public import CryptoPrimitives
import Glibc

extension RandomGenerator {
    /// Draws a number in 0..<1, in steps of 2^-53.
    public mutating func unit() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Draws from the exponential distribution.
    ///
    /// - Parameter mean: its mean; 0 gives 0.
    public mutating func exponential(mean: Double) -> Double {
        -mean * log(1 - unit())
    }

    /// Draws from the normal distribution of mean 0 and deviation 1 (Box and Muller, one of two).
    public mutating func normal() -> Double {
        let radius = sqrt(-2 * log(1 - unit()))
        return radius * cos(2 * .pi * unit())
    }

    /// Draws from the lognormal distribution whose logarithm has this mean and deviation.
    public mutating func lognormal(mu: Double, sigma: Double) -> Double {
        exp(mu + sigma * normal())
    }

    /// Draws from the Pareto distribution.
    ///
    /// - Parameter minimum: the least value, above 0.
    public mutating func pareto(shape: Double, minimum: Double) -> Double {
        minimum * pow(1 - unit(), -1 / shape)
    }
}
