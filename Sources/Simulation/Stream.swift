public import Base

/// Bytes in order from one host to the other: a small window protocol in the shape of TCP.
///
/// Segments of 1,200 bytes, each with a timer of its own; acknowledgements carry the first segment
/// missing and a map of the 64 behind it. Both ends live here: a world sees both.
public final class Stream {
    /// What a stream is like.
    public struct Settings: Sendable {
        /// Bytes in all.
        public var byteCount = 300_000
        /// Whether the host behind the exit sends, or the client's.
        public var isDownload = true
        /// Whether it goes over IPv6.
        public var isV6 = false
        /// Segments under way at most.
        public var window = 32

        /// A download of 300,000 bytes.
        public init() {}
    }

    static let segmentByteCount = 1_200
    private static let firstWait: TimeSpan = .milliseconds(500)
    private static let leastWait: TimeSpan = .milliseconds(200)
    private static let mostWait: TimeSpan = .seconds(1)
    /// Segments in one super-packet.
    static let mergeLimit = 16

    /// Its number, unique in its world; also its client's port less 1,024.
    public let id: UInt32
    /// What it is like.
    public let settings: Settings
    /// When it began.
    public let started: Instant
    /// When its last byte arrived; `nil` while it runs.
    public private(set) var finished: Instant?
    /// The longest time without progress at the receiver.
    public private(set) var longestGap: TimeSpan = .zero
    /// Packets of other addresses than the first, ignored by the host behind the exit.
    public internal(set) var strayCount = 0
    /// The lease's address it began with.
    public internal(set) var peer: IPAddress?
    var peerExit = 0

    // Sender.
    private struct Flight {
        var due: Instant = .zero
        var sent: Instant = .zero
        var tries = 0
        var isAcknowledged = false
    }
    private var flights: [Flight]
    private var base = 0
    private var nextUnsent = 0
    private var smoothed: TimeSpan?
    private var isRequested = false

    // Receiver.
    private var has: [Bool]
    private var firstMissing = 0
    private var requestDue: Instant
    private var lastProgress: Instant

    init(id: UInt32, settings: Settings, now: Instant) {
        self.id = id
        self.settings = settings
        started = now
        let count = (settings.byteCount + Self.segmentByteCount - 1) / Self.segmentByteCount
        flights = Array(repeating: Flight(), count: count)
        has = Array(repeating: false, count: count)
        requestDue = settings.isDownload ? now : .distantFuture
        isRequested = !settings.isDownload
        lastProgress = now
    }

    /// Whether every byte arrived.
    public var isFinished: Bool { finished != nil }
    /// Bytes that arrived without a gap before them.
    public var arrivedByteCount: Int {
        min(firstMissing * Self.segmentByteCount, settings.byteCount)
    }
    var port: UInt16 { UInt16(1_024 + id) }

    /// Whether all of it is acknowledged.
    var isSent: Bool { base == flights.count }

    /// When the sending end has something to do.
    var senderDeadline: Instant {
        guard isRequested, !isSent else { return .distantFuture }
        var deadline = Instant.distantFuture
        for index in base..<min(base + settings.window, flights.count)
        where !flights[index].isAcknowledged {
            deadline = min(deadline, flights[index].due)
        }
        return deadline
    }

    /// When the receiving end asks again.
    var receiverDeadline: Instant { isFinished ? .distantFuture : requestDue }

    /// Runs of segments to send now: first segment and count.
    func takeDue(now: Instant, mayMerge: Bool) -> [Range<Int>] {
        guard isRequested else { return [] }
        var runs: [Range<Int>] = []
        for index in base..<min(base + settings.window, flights.count)
        where !flights[index].isAcknowledged && flights[index].due <= now {
            let first = flights[index].tries == 0
            flights[index].tries += 1
            flights[index].sent = now
            let wait = smoothed.map { max(Self.leastWait, $0 * 2) } ?? Self.firstWait
            let doublings = UInt64(min(flights[index].tries - 1, 4))
            flights[index].due = now + min(wait * (1 << doublings), Self.mostWait)
            // Only new segments travel together, as a TCP sender's do.
            if mayMerge, first, let last = runs.last, last.upperBound == index,
                last.count < Self.mergeLimit, flights[last.lowerBound].tries == 1
            {
                runs[runs.count - 1] = last.lowerBound..<index + 1
            } else {
                runs.append(index..<index + 1)
            }
        }
        return runs
    }

    func bytes(of run: Range<Int>) -> [UInt8] {
        let start = run.lowerBound * Self.segmentByteCount
        let end = min(run.upperBound * Self.segmentByteCount, settings.byteCount)
        return Pattern.stream(id, offset: start, byteCount: end - start)
    }

    /// Takes an acknowledgement at the sending end.
    func receiveAcknowledgement(first: Int, map: UInt64, now: Instant) {
        isRequested = true
        guard first <= flights.count else { return }
        func acknowledge(_ index: Int) {
            guard index < flights.count, !flights[index].isAcknowledged, flights[index].tries > 0
            else { return }
            flights[index].isAcknowledged = true
            guard flights[index].tries == 1 else { return }
            let sample = now - flights[index].sent
            smoothed = smoothed.map { ($0 * 7 + sample) / 8 } ?? sample
        }
        if base < first { for index in base..<first { acknowledge(index) } }
        for bit in 0..<64 where map >> UInt64(bit) & 1 == 1 { acknowledge(first + 1 + bit) }
        while base < flights.count, flights[base].isAcknowledged { base += 1 }
    }

    /// Takes a segment at the receiving end; false where a byte of it is wrong.
    func receiveSegment(at offset: Int, _ bytes: [UInt8], now: Instant) -> Bool {
        guard offset.isMultiple(of: Self.segmentByteCount), offset < settings.byteCount else {
            return false
        }
        let index = offset / Self.segmentByteCount
        guard bytes == self.bytes(of: index..<index + 1) else { return false }
        has[index] = true
        let before = firstMissing
        while firstMissing < has.count, has[firstMissing] { firstMissing += 1 }
        if firstMissing > before {
            longestGap = max(longestGap, now - lastProgress)
            lastProgress = now
        }
        if firstMissing == has.count, finished == nil { finished = now }
        return true
    }

    /// What the receiving end acknowledges now.
    func takeAcknowledgement(now: Instant) -> (first: Int, map: UInt64) {
        requestDue = settings.isDownload ? now + .milliseconds(700) : .distantFuture
        var map: UInt64 = 0
        for bit in 0..<64 where firstMissing + 1 + bit < has.count {
            if has[firstMissing + 1 + bit] { map |= 1 << UInt64(bit) }
        }
        return (firstMissing, map)
    }
}
