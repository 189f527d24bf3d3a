public import Base
import Circuits
import Paths
import Wire

extension ClientControl {
    /// The machine has slept: relays may have given up what stands here, and what failed before says
    /// nothing of now.
    ///
    /// Every circuit is asked for a sign of life, so that one that is gone is replaced before it is
    /// missed.
    public mutating func resume(now: Instant, wall: WallTime) {
        self.wall = wall
        selector.retryAll()
        for id in tunnels.keys {
            tunnels[id]?.failures = 0
            tunnels[id]?.retryAt = now
            tunnels[id]?.spareFailures = 0
            tunnels[id]?.spareRetryAt = now
        }
        for id in circuits.keys.sorted() where circuits[id]?.survey == nil {
            _ = ping(id, hop: .third, token: Self.nobody, now: now)
        }
        maintain(now: now)
    }

    /// The token of pings whose answers nobody waits for.
    private static let nobody: UInt64 = 0
}
