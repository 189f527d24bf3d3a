import Base
import CryptoPrimitives
import Wire

/// Cells sent to a hop that sends them back, as fast as the circuit carries them: one measurement.
///
/// Sans-IO. Send a cell for each ``nextCell(using:)``, feed what comes back to
/// ``receive(sequence:mark:isMarked:now:)``, until ``isOver(at:)``. Only cells that come back with
/// the mark they were sent with count, and each once: a hop cannot answer what did not reach it.
///
/// A window bounds what is under way. It grows by one with each answer, until a hop marks congestion
/// or nothing comes; from then on it grows slowly, and shrinks by a quarter where marks come.
struct EchoStream: Sendable {
    private static let firstWindow = 32
    private static let windowLimit = 4_096
    private static let partCount = 8
    private static let stallTime: TimeSpan = .milliseconds(300)

    /// The hop that answers.
    let hop: HopIndex
    private let cellLimit: Int
    private let deadline: Instant
    // Of each cell that went out: its mark, 0 once it came back.
    private var marks: [UInt64] = []
    private var answeredCount = 0
    // Cells below are answered or lost.
    private var settledCount = 0
    private var window = EchoStream.firstWindow
    private var isProbing = true
    private var growth = 0
    // No further shrinking before this cell is settled.
    private var recovery = 0
    private var lastProgress: Instant
    // When each eighth of all cells had come back, the start first.
    private var times: [Instant]

    /// Begins to measure at `now` with at most `cellLimit` cells, for at most `time`.
    init(hop: HopIndex, cellLimit: Int, time: TimeSpan, now: Instant) {
        self.hop = hop
        self.cellLimit = max(cellLimit, Self.firstWindow * Self.partCount)
        deadline = now + time
        lastProgress = now
        times = [now]
    }

    /// Whether the measurement is done at `now`.
    func isOver(at now: Instant) -> Bool {
        now >= deadline || settledCount >= cellLimit
    }

    /// The sequence and mark of the next cell; `nil` while none may go out.
    mutating func nextCell(using random: inout RandomGenerator) -> (sequence: UInt32, mark: UInt64)?
    {
        guard marks.count < cellLimit, marks.count - settledCount < window else { return nil }
        let mark = random.next() | 1
        marks.append(mark)
        return (UInt32(truncatingIfNeeded: marks.count - 1), mark)
    }

    /// Takes a cell that came back; `isMarked` says that a hop's queue was long.
    mutating func receive(sequence: UInt32, mark: UInt64, isMarked: Bool, now: Instant) {
        let index = Int(sequence)
        guard index < marks.count, mark != 0, marks[index] == mark, now < deadline else { return }
        marks[index] = 0
        answeredCount += 1
        // What went out before it and is missing counts as lost; it may still come.
        settledCount = max(settledCount, index + 1)
        lastProgress = now
        adjust(isMarked: isMarked)
        if answeredCount * Self.partCount >= times.count * cellLimit { times.append(now) }
    }

    private mutating func adjust(isMarked: Bool) {
        if isMarked {
            isProbing = false
            guard settledCount > recovery else { return }
            window = max(Self.firstWindow, window * 3 / 4)
            recovery = marks.count
        } else if isProbing {
            window = min(window + 1, Self.windowLimit)
        } else {
            growth += 1
            guard growth >= window else { return }
            growth = 0
            window = min(window + Self.firstWindow / 4, Self.windowLimit)
        }
    }

    /// Gives up what is under way where nothing has come back for long.
    mutating func advance(to now: Instant) {
        guard now >= lastProgress + Self.stallTime, settledCount < marks.count else { return }
        settledCount = marks.count
        window = max(Self.firstWindow, window / 2)
        isProbing = false
        lastProgress = now
    }

    /// What came back, in kilobits of datagrams a second; `nil` where too little did.
    ///
    /// The best half of the cells counts, so that slow beginnings and one pause do not.
    func kilobits(at now: Instant) -> UInt32? {
        guard answeredCount >= Self.firstWindow else { return nil }
        let half = Self.partCount / 2
        var best = rate(cells: answeredCount, over: min(now, deadline) - times[0])
        if times.count > half {
            for index in half..<times.count {
                let span = times[index] - times[index - half]
                best = max(best, rate(cells: cellLimit * half / Self.partCount, over: span))
            }
        }
        return best
    }

    private func rate(cells: Int, over span: TimeSpan) -> UInt32 {
        // A batch of answers may come within one reading of the clock.
        let microseconds = max(span.nanoseconds / 1_000, 1)
        let bits = UInt64(cells) * UInt64(Datagram.byteCount) * 8
        return UInt32(clamping: max(1, bits * 1_000 / microseconds))
    }
}
