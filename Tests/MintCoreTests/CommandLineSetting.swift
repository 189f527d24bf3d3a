import FoundationEssentials

/// How much is tried, from the environment.
enum CommandLineSetting {
    /// Seeds to try: `UMBEL_SEEDS`, or `count`.
    static func seeds(default count: UInt64) -> UInt64 {
        ProcessInfo.processInfo.environment["UMBEL_SEEDS"].flatMap { UInt64($0) } ?? count
    }
}
