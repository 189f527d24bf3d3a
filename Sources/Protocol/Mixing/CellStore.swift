import Base
import Wire

/// Memory for the bodies of cells that wait.
///
/// Grows by blocks of 64 cells and gives blocks back when nothing waits any more, so that a cell
/// costs a copy and no allocation. Not bounded by itself: its owner asks ``count`` first.
public struct CellStore: Sendable {
    private static let cellsOfBlock = 64

    private var blocks: [[UInt8]] = []
    private var free: [Int32] = []
    /// Cells that are kept.
    public private(set) var count = 0

    /// Places there are, free ones included.
    public var capacity: Int {
        blocks.count * Self.cellsOfBlock
    }

    /// Makes an empty store.
    public init() {}

    /// Keeps the body at `body` of `bytes`; the number it is found by.
    public mutating func keep(_ bytes: RawSpan, body: Int) -> Int32 {
        if free.isEmpty { grow() }
        let cell = free.removeLast()
        count += 1
        let (block, place) = Int(cell).quotientAndRemainder(dividingBy: Self.cellsOfBlock)
        Self.write(
            bytes.extracting(body..<body + Datagram.bodyByteCount),
            to: place * Datagram.bodyByteCount,
            of: &blocks[block]
        )
        return cell
    }

    /// Puts the body of `cell` to `offset` of `bytes` and forgets it.
    ///
    /// - Precondition: the cell is kept.
    public mutating func release(_ cell: Int32, into bytes: inout MutableRawSpan, at offset: Int) {
        let (block, place) = Int(cell).quotientAndRemainder(dividingBy: Self.cellsOfBlock)
        let start = place * Datagram.bodyByteCount
        let bodies = blocks[block]
        let body = unsafe bodies.span.bytes.extracting(start..<start + Datagram.bodyByteCount)
        bytes.copy(body, to: offset)
        drop(cell)
    }

    /// Forgets `cell`.
    ///
    /// - Precondition: the cell is kept.
    public mutating func drop(_ cell: Int32) {
        count -= 1
        free.append(cell)
    }

    /// Gives memory back where nothing is kept.
    public mutating func shrink() {
        guard count == 0, blocks.count > 1 else { return }
        blocks.removeLast(blocks.count - 1)
        free.removeAll(keepingCapacity: true)
        free.append(contentsOf: (0..<Int32(Self.cellsOfBlock)).reversed())
    }

    private mutating func grow() {
        let first = Int32(capacity)
        blocks.append([UInt8](repeating: 0, count: Self.cellsOfBlock * Datagram.bodyByteCount))
        free.append(contentsOf: (first..<first + Int32(Self.cellsOfBlock)).reversed())
    }

    private static func write(_ body: RawSpan, to offset: Int, of block: inout [UInt8]) {
        var span = block.mutableSpan
        var bytes = unsafe span.mutableBytes
        bytes.copy(body, to: offset)
    }
}
