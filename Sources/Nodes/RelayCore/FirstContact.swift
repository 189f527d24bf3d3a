import Base
import Wire

/// What a circuit of first contact may use: enough to get vouchers, and no more.
///
/// Spec: PROTOCOL.md §A.5.
struct FirstContact {
    /// Cells after which a shard reports, so that the limit keeps up with time.
    static let reportCells: UInt32 = 16
    /// 1 MiB in all.
    private static let mostCells: UInt64 = 773
    /// What a first purchase of every kind takes.
    private static let firstCells: UInt64 = 256
    /// 64 KiB a second.
    private static let cellsPerSecond: UInt64 = 48

    /// When it was created.
    let begun: Instant

    /// Cells it may have used at `now`.
    func cellLimit(at now: Instant) -> UInt64 {
        let milliseconds = (now - begun).nanoseconds / 1_000_000
        return min(Self.mostCells, Self.firstCells + milliseconds * Self.cellsPerSecond / 1_000)
    }
}

/// How many circuits of first contact a relay makes, and for whom.
///
/// Eight an hour for each client's network, one a second for each relay before this one,
/// ``limit`` at a time. Bound: ``sourceLimit`` sources are told apart; beyond it none is served.
struct FirstContactLimiter {
    /// Circuits at a time: 4 MiB/s in all.
    static let limit = 64
    private static let sourceLimit = 16_384

    /// Who asks.
    enum Source: Hashable {
        /// A client at this IPv4 address or in this IPv6 /64.
        case client(IPAddress)
        /// Somebody behind this relay.
        case relay(NodeID)

        /// Seconds of its budget that one circuit takes.
        fileprivate var price: UInt64 {
            switch self {
            case .client: 450
            case .relay: 1
            }
        }
    }

    private var buckets: [Source: TokenBucket] = [:]
    private var count = 0

    mutating func begin() {
        count += 1
    }

    mutating func end() {
        count -= 1
    }

    /// Whether one more may be made for `source` now.
    mutating func admit(_ source: Source, now: Instant) -> Bool {
        guard count < Self.limit else { return false }
        if buckets[source] == nil {
            if buckets.count >= Self.sourceLimit { dropFull(now: now) }
            guard buckets.count < Self.sourceLimit else { return false }
            buckets[source] = Self.bucket(source, now: now)
        }
        return buckets[source]?.take(source.price, now: now) == true
    }

    private static func bucket(_ source: Source, now: Instant) -> TokenBucket {
        switch source {
        case .client: TokenBucket(perSecond: 1, burst: 3_600, now: now)
        case .relay: TokenBucket(perSecond: 1, burst: 4, now: now)
        }
    }

    /// Forgets sources whose budgets are whole again: they lose nothing by it.
    private mutating func dropFull(now: Instant) {
        buckets = buckets.filter { entry in
            var bucket = entry.value
            return bucket.available(now: now) < bucket.burst
        }
    }
}

extension FirstContactLimiter.Source {
    /// The source a client at `address` counts as.
    static func client(at address: IPAddress) -> Self {
        .client(address.isV4 ? address : IPAddress(high: address.high, low: 0))
    }
}
