import Base
import Onion
import Wire

// Parity of the middle's layer: groups of five counters, of which the last one's cell carries the
// XOR of what the four before it did. Spec: §D.5.

/// Where a counter stands in its group.
enum ParityPlace {
    /// Cells of a group, parity included.
    static let groupCount: UInt32 = 5
    /// Bytes that are covered: the inside of the middle's layer.
    static let byteCount = OnionLayer.innerByteCount(at: .second)

    /// Whether the cell with this count is its group's parity.
    static func isParity(_ count: UInt32) -> Bool {
        count % groupCount == groupCount - 1
    }
}

/// The XOR of what cells carried: insides, and the header's fields but its flags.
struct ParitySum {
    private var bytes = [UInt8](repeating: 0, count: ParityPlace.byteCount)
    private var command: UInt8 = 0
    private var auxiliary: UInt16 = 0
    private var nextCounter: UInt32 = 0

    mutating func add(_ header: LayerHeader, _ span: RawSpan, body: Int) {
        // A parity cell has the sum of the commands where others have their flags.
        command ^=
            header.command == .parity ? header.flags.rawValue : header.command.rawValue
        auxiliary ^= header.auxiliary
        nextCounter ^= header.nextCounter
        var own = bytes.mutableSpan
        var target = unsafe own.mutableBytes
        unsafe target.withUnsafeMutableBytes { sum in
            unsafe span.extracting(body..<body + ParityPlace.byteCount).withUnsafeBytes { cell in
                // 1,308 bytes are 327 words.
                var offset = 0
                while offset < ParityPlace.byteCount {
                    let word =
                        unsafe sum.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                        ^ cell.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                    unsafe sum.storeBytes(of: word, toByteOffset: offset, as: UInt32.self)
                    offset += 4
                }
            }
        }
    }

    /// Writes the sum's inside to `body`.
    func write(to span: inout MutableRawSpan, body: Int) {
        span.copy(bytes, to: body)
    }

    /// The header of a parity cell with this sum.
    var parityHeader: LayerHeader {
        LayerHeader(
            command: .parity,
            flags: LayerHeader.Flags(rawValue: command),
            auxiliary: auxiliary,
            nextCounter: nextCounter
        )
    }

    /// The header of the one cell that is missing from a sum of all others; `nil` for none there is.
    var missingHeader: LayerHeader? {
        guard let command = LayerCommand(rawValue: command), command != .parity else { return nil }
        return LayerHeader(
            command: command,
            flags: .slotHold,
            auxiliary: auxiliary,
            nextCounter: nextCounter
        )
    }

    mutating func clear() {
        var own = bytes.mutableSpan
        var target = unsafe own.mutableBytes
        target.zero(0..<ParityPlace.byteCount)
        (command, auxiliary, nextCounter) = (0, 0, 0)
    }
}

/// Makes the parity of the cells of one direction.
struct ParityMaker {
    private var sum = ParitySum()

    /// Counts a cell in that is about to be sealed under a count that is none of parity.
    mutating func add(_ header: LayerHeader, _ span: RawSpan, body: Int) {
        sum.add(header, span, body: body)
    }

    /// Writes the parity of what was added to `body`, and begins anew.
    mutating func take(to span: inout MutableRawSpan, body: Int) -> LayerHeader {
        sum.write(to: &span, body: body)
        defer { sum.clear() }
        return sum.parityHeader
    }
}

/// Rebuilds cells of one direction that were lost, one of each group.
///
/// Bound: four groups at a time; the newest ones stay.
struct ParityReader {
    /// A cell that was rebuilt.
    struct Rebuilt {
        let count: UInt32
        let header: LayerHeader
        let group: Int
    }

    private struct Group {
        var number: UInt32 = .max
        var seen: UInt8 = 0
        var sum = ParitySum()
    }

    private static let groupLimit = 4
    private static let all: UInt8 = 0b11111
    private static let parity: UInt8 = 0b10000
    private var groups = (0..<groupLimit).map { _ in Group() }

    /// Takes a cell that opened under `count`, its inside at `body`; a cell that is rebuilt by it.
    mutating func note(
        _ count: UInt32,
        _ header: LayerHeader,
        _ span: RawSpan,
        body: Int
    ) -> Rebuilt? {
        let number = count / ParityPlace.groupCount
        let place = Int(number) % Self.groupLimit
        if groups[place].number != number {
            // Older than what is kept: too late to be of use.
            if groups[place].number != .max, groups[place].number > number { return nil }
            groups[place].number = number
            groups[place].seen = 0
            groups[place].sum.clear()
        }
        let bit: UInt8 = 1 << UInt8(count % ParityPlace.groupCount)
        let isParity = bit == Self.parity
        // What breaks the rule of places can repair nothing.
        guard isParity == (header.command == .parity) else {
            groups[place].seen = Self.all
            return nil
        }
        guard groups[place].seen & bit == 0 else { return nil }
        groups[place].seen |= bit
        groups[place].sum.add(header, span, body: body)
        let missing = ~groups[place].seen & Self.all
        guard missing.nonzeroBitCount == 1, missing != Self.parity,
            let rebuilt = groups[place].sum.missingHeader
        else { return nil }
        let offset = UInt32(missing.trailingZeroBitCount)
        return Rebuilt(
            count: number * ParityPlace.groupCount + offset,
            header: rebuilt,
            group: place
        )
    }

    /// Writes the inside of a cell that was just rebuilt to `body`, and is done with its group.
    mutating func write(_ rebuilt: Rebuilt, to span: inout MutableRawSpan, body: Int) {
        groups[rebuilt.group].seen = Self.all
        groups[rebuilt.group].sum.write(to: &span, body: body)
    }
}
