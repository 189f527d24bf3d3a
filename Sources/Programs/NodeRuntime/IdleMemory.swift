import Base
import CLinux

/// Gives back memory while little is to be done.
///
/// A daemon's start touches most of its code: configuration, certificates, tables. What is needed to
/// keep circuits alive is a part of that. Without this, all that was ever touched stays resident,
/// though it is no more than a copy of the program's file.
struct IdleMemory {
    private static let interval: TimeSpan = .seconds(60)
    /// The first look: after the start, before anybody measures.
    private static let firstInterval: TimeSpan = .seconds(10)
    /// Who moves more bytes than this in an interval is not idle: coming back costs page faults.
    private static let idleByteCount: UInt64 = 1 << 20

    private var due: Instant
    private var byteCount: UInt64 = 0

    /// Begins at the daemon's start.
    init(now: Instant) {
        due = now + Self.firstInterval
    }

    /// Whether ``tend(byteCount:now:)`` has something to do.
    func isDue(at now: Instant) -> Bool {
        now >= due
    }

    /// Gives memory back where no more than a little was carried since the last call.
    ///
    /// - Parameter byteCount: bytes of packets carried since the daemon's start.
    mutating func tend(byteCount: UInt64, now: Instant) {
        due = now + Self.interval
        let moved = byteCount &- self.byteCount
        self.byteCount = byteCount
        guard moved <= Self.idleByteCount else { return }
        clinux_release_unused()
    }
}
