import Glibc

/// The test of Kolmogorov and Smirnov: whether two samples are of one distribution.
public struct KolmogorovSmirnov: Hashable, Sendable {
    /// The greatest distance between both distribution functions, 0...1.
    public let distance: Double
    /// The chance of such a distance or a greater one, were they of one distribution; asymptotic, good
    /// from about 35 values each.
    public let probability: Double

    /// Compares two samples; `nil` where one is empty.
    public init?(_ first: [Double], _ second: [Double]) {
        guard !first.isEmpty, !second.isEmpty else { return nil }
        let (a, b) = (first.sorted(), second.sorted())
        var (i, j, most) = (0, 0, 0.0)
        while i < a.count, j < b.count {
            let value = min(a[i], b[j])
            while i < a.count, a[i] == value { i += 1 }
            while j < b.count, b[j] == value { j += 1 }
            most = max(most, abs(Double(i) / Double(a.count) - Double(j) / Double(b.count)))
        }
        distance = most
        let size = sqrt(Double(a.count) * Double(b.count) / Double(a.count + b.count))
        probability = Self.tail((size + 0.12 + 0.11 / size) * most)
    }

    /// Kolmogorov's distribution above `x`.
    private static func tail(_ x: Double) -> Double {
        // The series does not converge there, and the value is 1 to six digits.
        guard x > 0.2 else { return 1 }
        var sum = 0.0
        for k in 1...100 {
            let term = 2 * (k.isMultiple(of: 2) ? -1.0 : 1.0) * exp(-2 * Double(k * k) * x * x)
            sum += term
            if abs(term) < 1e-12 { break }
        }
        return min(max(sum, 0), 1)
    }
}
