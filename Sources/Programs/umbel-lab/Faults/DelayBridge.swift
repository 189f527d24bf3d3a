import Base
import Glibc

/// Carries frames between two interfaces and holds, doubles, overtakes and damages them.
///
/// One thread, one loop: read what arrived on either side, send what is due, sleep until the next
/// frame is due or something arrives. Ends with its process.
struct DelayBridge: ~Copyable {
    private let left: PacketSocket
    private let right: PacketSocket
    private var toRight: FrameQueue
    private var toLeft: FrameQueue

    /// Frames read from one side before the other side and the clock get their turn.
    private static let batch = 64

    /// Opens both interfaces.
    ///
    /// - Throws: ``LabError`` where one of them cannot be opened.
    init(left: String, right: String, faults: LinkFaults) throws(LabError) {
        let leftSocket = try PacketSocket(interface: left)
        let rightSocket = try PacketSocket(interface: right)
        self.left = leftSocket
        self.right = rightSocket
        toRight = FrameQueue(faults: faults, stream: 0)
        toLeft = FrameQueue(faults: faults, stream: 1)
    }

    /// Carries frames until an interface goes away.
    ///
    /// - Throws: ``LabError`` saying which.
    mutating func run() throws(LabError) -> Never {
        var buffer = [UInt8](repeating: 0, count: 1 << 17)
        while true {
            wait()
            for _ in 0..<Self.batch {
                guard let frame = try left.receive(into: &buffer) else { break }
                toRight.insert(frame, now: Self.now())
            }
            for _ in 0..<Self.batch {
                guard let frame = try right.receive(into: &buffer) else { break }
                toLeft.insert(frame, now: Self.now())
            }
            let now = Self.now()
            while let frame = toRight.next(now: now) { right.send(frame) }
            while let frame = toLeft.next(now: now) { left.send(frame) }
        }
    }

    /// Sleeps until a frame arrives or the next one is due, to the microsecond.
    private func wait() {
        var set = fd_set()
        unsafe withUnsafeMutableBytes(of: &set) { bits in
            for descriptor in [left.descriptor, right.descriptor] {
                precondition(Int(descriptor) < bits.count * 8, "too many open files")
                unsafe bits[Int(descriptor) / 8] |= 1 << UInt8(descriptor % 8)
            }
        }
        let count = max(left.descriptor, right.descriptor) + 1
        let deadlines = [toRight.nextDeadline, toLeft.nextDeadline].compactMap(\.self)
        guard let next = deadlines.min() else {
            unsafe select(count, &set, nil, nil, nil)
            return
        }
        let microseconds = (next - Self.now()).nanoseconds / 1_000
        var limit = timeval(
            tv_sec: Int(microseconds / 1_000_000),
            tv_usec: Int(microseconds % 1_000_000)
        )
        unsafe select(count, &set, nil, nil, &limit)
    }

    private static func now() -> Instant {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }
}
