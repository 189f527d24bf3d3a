public import Base
public import Wire

/// Whom a node serves in each slot of one length: every member once.
///
/// One deadline for all of them. A round may be interrupted where what is made must be sent first;
/// a slot that was slept through is not made up for. Bound: its owner's circuits.
public struct SlotRound: Sendable {
    /// Length of its slots.
    public let length: SlotLength
    /// The slot that is being served, or was last.
    public private(set) var slot: UInt64 = 0
    private var members: [Int] = []
    private var cursor = 0
    private var next: Instant = .distantFuture
    /// A clock that goes back by so many slots was set anew.
    private static let backLimit: UInt64 = 100

    /// A round nobody is served in yet.
    public init(length: SlotLength) {
        self.length = length
    }

    /// Whether nobody is served.
    public var isEmpty: Bool {
        members.isEmpty
    }

    /// When ``takeNext(now:clock:)`` has somebody.
    public var due: Instant {
        cursor < members.count ? .zero : next
    }

    /// Serves `member` too, from the next slot on.
    public mutating func add(_ member: Int, now: Instant, clock: SlotClock) {
        if members.isEmpty { next = clock.nextSlotStart(after: now, length) }
        let isServing = cursor < members.count
        members.append(member)
        if !isServing { cursor = members.count }
    }

    /// Serves `member` no more.
    public mutating func remove(_ member: Int) {
        guard let index = members.firstIndex(of: member) else { return }
        members.remove(at: index)
        if index < cursor { cursor -= 1 }
        if members.isEmpty { next = .distantFuture }
    }

    /// Takes the next member to serve in ``slot``; `nil` where all have been.
    public mutating func takeNext(now: Instant, clock: SlotClock) -> Int? {
        if cursor >= members.count {
            guard !members.isEmpty, now >= next else { return nil }
            next = clock.nextSlotStart(after: now, length)
            let current = clock.slot(at: now, length)
            // The grid was moved back a little: this slot has had its cell.
            guard current > slot || slot - current > Self.backLimit else { return nil }
            slot = current
            cursor = 0
        }
        defer { cursor += 1 }
        return members[cursor]
    }
}
