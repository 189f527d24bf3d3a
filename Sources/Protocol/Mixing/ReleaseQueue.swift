public import Wire

/// A cell that waits for its slot; its body lies in a ``CellStore``.
public struct HeldCell: Sendable {
    /// Where its body is kept.
    public var cell: Int32
    /// Counter for the link header, or of the layer inside, where it has one.
    public var counter: UInt32 = 0
    /// Place among cells that keep their order.
    public var order: UInt32 = 0
    /// The first slot it may leave in.
    public var due: UInt64 = 0
    /// Header of the layer it is still to get, where it is to get one.
    public var header = LayerHeader(command: .deliver)
    /// The hop it is for, counted from 0, where it is not sealed yet.
    public var hop: UInt8 = 0
    /// Whether silence after it tells of a fault.
    public var wantsAnswer = false

    /// A cell whose body is kept as `cell`.
    public init(cell: Int32) {
        self.cell = cell
    }
}

/// Cells of one circuit and direction that wait for their slots, first in, first out.
///
/// A ring of fixed size: nothing is allocated for a cell. What finds it full is its owner's to drop.
public struct ReleaseQueue: Sendable {
    private var ring: [HeldCell] = []
    private var first = 0
    /// Cells that wait.
    public private(set) var count = 0
    /// Cells that may wait.
    public let capacity: Int

    /// Makes an empty queue for at most `capacity` cells.
    public init(capacity: Int) {
        self.capacity = capacity
    }

    /// Whether no further cell fits.
    public var isFull: Bool {
        count == capacity
    }

    /// Whether nothing waits.
    public var isEmpty: Bool {
        count == 0
    }

    /// Puts a cell behind all others; false where it is full.
    public mutating func append(_ held: HeldCell) -> Bool {
        guard !isFull else { return false }
        // The ring comes with the first cell: most circuits never need one.
        if ring.isEmpty { ring = [HeldCell](repeating: HeldCell(cell: -1), count: capacity) }
        ring[place(count)] = held
        count += 1
        return true
    }

    /// Puts a cell before those whose ``HeldCell/order`` is higher; false where it is full.
    public mutating func insert(_ held: HeldCell) -> Bool {
        guard append(held) else { return false }
        var index = count - 1
        while index > 0, ring[place(index - 1)].order > held.order {
            ring[place(index)] = ring[place(index - 1)]
            index -= 1
        }
        ring[place(index)] = held
        return true
    }

    /// Takes the first cell.
    public mutating func removeFirst() -> HeldCell? {
        guard count > 0 else { return nil }
        let held = ring[first]
        first = (first + 1) % capacity
        count -= 1
        return held
    }

    /// Takes the first cell if it may leave in `slot`.
    ///
    /// Those behind it wait for it: a cell never overtakes the one before it.
    public mutating func removeFirst(dueIn slot: UInt64) -> HeldCell? {
        guard count > 0, ring[first].due <= slot else { return nil }
        return removeFirst()
    }

    /// The slot the first cell leaves in; `nil` where nothing waits.
    public var firstDue: UInt64? {
        count > 0 ? ring[first].due : nil
    }

    private func place(_ index: Int) -> Int {
        (first + index) % capacity
    }
}
