import Base

/// Frames held back on their way, given out in the order of their time.
///
/// Sans-IO: the same seed and the same calls give the same fates. Bounded by ``capacity``; what
/// comes when it is full is dropped and counted, as a router's queue would.
struct FrameQueue {
    /// Frames held at most.
    static let capacity = 16_384

    private struct Held {
        var release: Instant
        var order: UInt64
        var frame: [UInt8]
    }

    private var heap: [Held] = []
    private var order: UInt64 = 0
    private var random: SplitMix
    private let faults: LinkFaults
    /// Frames dropped because the queue was full.
    private(set) var droppedCount = 0

    init(faults: LinkFaults, stream: UInt64) {
        self.faults = faults
        random = SplitMix(state: faults.seed &* 2 &+ stream)
    }

    /// Takes `frame` in and decides its fate.
    mutating func insert(_ frame: [UInt8], now: Instant) {
        let copies = random.happens(faults.duplicatePerMyriad) ? 2 : 1
        for _ in 0..<copies {
            guard heap.count < Self.capacity else {
                droppedCount += 1
                return
            }
            var frame = frame
            if random.happens(faults.corruptPerMyriad) { random.turnBit(of: &frame) }
            let isHeld = !random.happens(faults.reorderPerMyriad)
            let jitter = random.draw(below: faults.jitterMicroseconds + 1)
            let delay = isHeld ? faults.delayMicroseconds + jitter : 0
            push(
                Held(release: now + .microseconds(delay), order: order, frame: frame)
            )
            order += 1
        }
    }

    /// The next frame whose time has come.
    mutating func next(now: Instant) -> [UInt8]? {
        guard let first = heap.first, first.release <= now else { return nil }
        return pop().frame
    }

    /// When the next frame is to go.
    var nextDeadline: Instant? { heap.first?.release }

    // MARK: - A binary heap, earliest first, equal times in order of arrival

    private static func isEarlier(_ left: Held, _ right: Held) -> Bool {
        left.release == right.release ? left.order < right.order : left.release < right.release
    }

    private mutating func push(_ held: Held) {
        heap.append(held)
        var child = heap.count - 1
        while child > 0, Self.isEarlier(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func pop() -> Held {
        heap.swapAt(0, heap.count - 1)
        let held = heap.removeLast()
        var parent = 0
        while 2 * parent + 1 < heap.count {
            var child = 2 * parent + 1
            if child + 1 < heap.count, Self.isEarlier(heap[child + 1], heap[child]) { child += 1 }
            guard Self.isEarlier(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            parent = child
        }
        return held
    }
}

/// SplitMix64: small, seeded, good enough for faults.
struct SplitMix {
    var state: UInt64

    /// 64 new bits.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    mutating func draw(below bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// Whether a chance of `perMyriad` in 10 000 comes true.
    mutating func happens(_ perMyriad: Int) -> Bool {
        perMyriad > 0 && draw(below: 10_000) < UInt64(perMyriad)
    }

    /// Turns one bit behind the Ethernet header.
    mutating func turnBit(of frame: inout [UInt8]) {
        guard frame.count > 14 else { return }
        let bit = Int(draw(below: UInt64(frame.count - 14) * 8))
        frame[14 + bit / 8] ^= 1 << UInt8(bit % 8)
    }
}
