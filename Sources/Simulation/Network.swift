public import Base
import CryptoPrimitives

/// How well datagrams get from one address to another.
public struct LinkQuality: Sendable, Equatable {
    /// Time on the way.
    public var latency: TimeSpan = .milliseconds(10)
    /// Most that is added to it, drawn anew for each datagram; order is kept.
    public var jitter: TimeSpan = .zero
    /// Of 10,000 datagrams, how many are lost.
    public var loss: UInt64 = 0
    /// Of 10,000 datagrams, how many come twice.
    public var duplication: UInt64 = 0
    /// Of 10,000 datagrams, how many come with one bit turned.
    public var corruption: UInt64 = 0
    /// Of 10,000 datagrams, how many are overtaken by later ones.
    public var reordering: UInt64 = 0
    /// Bits a second the sender's line carries; `nil` for no limit.
    public var bitsPerSecond: UInt64?
    /// Time a datagram may wait for the line before it is dropped.
    public var queueLimit: TimeSpan = .milliseconds(50)

    /// A perfect way of 10 ms.
    public init() {}

    /// A way of `latency` without faults.
    public init(latency: TimeSpan) {
        self.latency = latency
    }
}

/// The ways between nodes: what becomes of each datagram.
///
/// Every draw comes from the world's seed, in the order datagrams are sent.
public struct Network: ~Copyable {
    /// What becomes of a datagram.
    struct Fate {
        var arrivals: [(time: Instant, turnedBit: Int?)] = []
    }

    private struct Way: Hashable {
        var from: Int
        var to: Int
    }

    private struct Line {
        var freeAt: Instant = .zero
        var lastArrival: Instant = .zero
    }

    /// How good ways are that nothing else is said of.
    public var quality: LinkQuality
    private var special: [Way: LinkQuality] = [:]
    private var blocked: Set<Way> = []
    private var lines: [Way: Line] = [:]
    private var random: RandomGenerator

    init(quality: LinkQuality, random: consuming RandomGenerator) {
        self.quality = quality
        self.random = random
    }

    /// Says how good the way from one node to another is; `nil` makes it as good as the others.
    public mutating func setQuality(_ quality: LinkQuality?, from: Int, to: Int) {
        special[Way(from: from, to: to)] = quality
    }

    /// Stops all datagrams from one node to another, or lets them pass again.
    public mutating func setBlocked(_ isBlocked: Bool, from: Int, to: Int) {
        if isBlocked {
            blocked.insert(Way(from: from, to: to))
        } else {
            blocked.remove(Way(from: from, to: to))
        }
    }

    /// Lets all datagrams pass again.
    public mutating func unblockAll() {
        blocked = []
    }

    /// How good the way from one node to another is.
    public func quality(from: Int, to: Int) -> LinkQuality {
        special[Way(from: from, to: to)] ?? quality
    }

    mutating func fate(of byteCount: Int, from: Int, to: Int, now: Instant) -> Fate {
        let way = Way(from: from, to: to)
        guard !blocked.contains(way) else { return Fate() }
        let quality = special[way] ?? self.quality
        var line = lines[way] ?? Line()
        var leaves = now
        if let rate = quality.bitsPerSecond {
            leaves = max(now, line.freeAt)
            guard leaves - now <= quality.queueLimit else { return Fate() }
            leaves = leaves + TimeSpan(nanoseconds: UInt64(byteCount) * 8_000_000_000 / rate)
            line.freeAt = leaves
        }
        var fate = Fate()
        let copies = hits(quality.duplication) ? 2 : 1
        for _ in 0..<copies {
            if hits(quality.loss) { continue }
            var time = leaves + quality.latency
            if quality.jitter > .zero {
                time = time + TimeSpan(nanoseconds: random.next(below: quality.jitter.nanoseconds))
            }
            if hits(quality.reordering) {
                let most = quality.latency.nanoseconds + 2_000_000
                time = time + TimeSpan(nanoseconds: random.next(below: most))
            } else {
                time = max(time, line.lastArrival)
                line.lastArrival = time
            }
            let turned =
                hits(quality.corruption) ? Int(random.next(below: UInt64(byteCount) * 8)) : nil
            fate.arrivals.append((time, turned))
        }
        lines[way] = line
        return fate
    }

    private mutating func hits(_ chance: UInt64) -> Bool {
        chance > 0 && random.next(below: 10_000) < chance
    }
}
