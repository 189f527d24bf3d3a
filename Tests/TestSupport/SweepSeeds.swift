import Foundation

/// Which seeds sweeps run, from the environment.
public enum SweepSeeds {
    /// From `UMBEL_SEEDS` how many, or from where to where (`200-399`), or from `UMBEL_SEED` the
    /// only one, which is what a failure printed; else so many.
    public static func range(default count: UInt64) -> Range<UInt64> {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["UMBEL_SEED"].flatMap(UInt64.init) { return seed..<seed + 1 }
        guard let text = environment["UMBEL_SEEDS"] else { return 0..<count }
        let bounds = text.split(separator: "-").compactMap { UInt64($0) }
        switch (bounds.count, bounds.first, bounds.last) {
        case (1, let count?, _): return 0..<count
        case (2, let first?, let last?) where first <= last: return first..<last + 1
        default: preconditionFailure("UMBEL_SEEDS is N or N-M")
        }
    }
}
