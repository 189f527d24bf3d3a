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

    /// Whether each datagram arrives once, as it was sent, after ``latency``.
    var isSteady: Bool {
        jitter == .zero && loss == 0 && duplication == 0 && corruption == 0 && reordering == 0
            && bitsPerSecond == nil
    }
}

/// Places nodes may be at, and how long datagrams take between them.
public struct PlaceLatencies: Sendable {
    private let count: Int
    private let latencies: [TimeSpan]

    /// Takes the times over, by place and place.
    ///
    /// - Precondition: there are `count` times `count` of them.
    public init(count: Int, latencies: [TimeSpan]) {
        precondition(count > 0 && latencies.count == count * count, "a time for each two places")
        self.count = count
        self.latencies = latencies
    }

    func latency(_ one: UInt8, _ other: UInt8) -> TimeSpan {
        latencies[Int(one) * count + Int(other)]
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
    public var quality: LinkQuality {
        didSet { hasChanged = true }
    }
    /// Where nodes are, where that decides how long ways take; `nil` where they take what
    /// ``quality`` says.
    public var places: PlaceLatencies?
    // By node; those beyond its end are at the first place.
    private var nodePlaces: [UInt8] = []
    // Whether some way has been another one than ``quality`` says.
    private var hasChanged = false
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
        hasChanged = true
    }

    /// Says at which of ``places`` a node is.
    public mutating func setPlace(_ place: UInt8, of node: Int) {
        while nodePlaces.count <= node { nodePlaces.append(0) }
        nodePlaces[node] = place
    }

    private func place(of node: Int) -> UInt8 {
        node < nodePlaces.count ? nodePlaces[node] : 0
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
        if let quality = special[Way(from: from, to: to)] { return quality }
        var usual = quality
        if let places { usual.latency = places.latency(place(of: from), place(of: to)) }
        return usual
    }

    /// When a datagram arrives where ways have always been steady, so that none has a memory; `nil`
    /// where its fate is to be drawn.
    func steadyArrival(from: Int, to: Int, now: Instant) -> Instant? {
        guard !hasChanged, blocked.isEmpty, quality.isSteady else { return nil }
        let latency = places.map { $0.latency(place(of: from), place(of: to)) } ?? quality.latency
        return now + latency
    }

    mutating func fate(of byteCount: Int, from: Int, to: Int, now: Instant) -> Fate {
        let way = Way(from: from, to: to)
        guard !blocked.contains(way) else { return Fate() }
        let quality = quality(from: from, to: to)
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
