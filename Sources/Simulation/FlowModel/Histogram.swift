import Foundation

/// How often values between 10⁻⁵ and 10³ came: bins of 2.3 %, a hundred to a power of ten.
public struct Histogram: Hashable, Sendable {
    /// Count of each bin.
    public private(set) var bins = [UInt64](repeating: 0, count: 800)
    /// All of them.
    public private(set) var count: UInt64 = 0
    private var sum = 0.0

    /// Of nothing yet.
    public init() {}

    /// Takes a value.
    public mutating func add(_ value: Double) {
        let place = Int((log10(max(value, 1e-5)) + 5) * 100)
        bins[min(max(place, 0), bins.count - 1)] += 1
        count += 1
        sum += value
    }

    /// Mean of all; 0 where there is none.
    public var mean: Double {
        count > 0 ? sum / Double(count) : 0
    }

    /// The value `share` of all do not exceed, to the middle of its bin; 0 where there is none.
    public func value(at share: Double) -> Double {
        guard count > 0 else { return 0 }
        let mark = UInt64((Double(count) * min(max(share, 0), 1)).rounded(.up))
        var sum: UInt64 = 0
        for (place, bin) in bins.enumerated() {
            sum += bin
            if sum >= max(1, mark) { return pow(10, (Double(place) + 0.5) / 100 - 5) }
        }
        return 0
    }
}

/// Figures of many, by their shares.
public struct Spread: Hashable, Sendable {
    /// The mean.
    public let mean: Double
    /// The values 5, 25, 50, 75, 95, 99 and 100 % of all do not exceed.
    public let shares: [Double]
    /// Which shares ``shares`` are.
    public static let marks = [0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1]

    /// Sorts `values`.
    public init(_ values: [Double]) {
        let sorted = values.sorted()
        mean = sorted.isEmpty ? 0 : sorted.reduce(0, +) / Double(sorted.count)
        shares = Self.marks.map { mark in
            sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(mark * Double(sorted.count)))]
        }
    }
}
