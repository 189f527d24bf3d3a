import Base

/// Position of a hop in a circuit: 1 the guard, 3 the exit of a three-hop circuit.
public struct HopIndex: Hashable, Comparable, Sendable, BitwiseCopyable {
    /// 1, 2 or 3.
    public let rawValue: UInt8

    /// The hop at `rawValue`; `nil` unless it is 1, 2 or 3.
    public init?(rawValue: UInt8) {
        guard (1...3).contains(rawValue) else { return nil }
        self.rawValue = rawValue
    }

    private init(known: UInt8) {
        rawValue = known
    }

    /// The first hop.
    public static let first = Self(known: 1)
    /// The second hop.
    public static let second = Self(known: 2)
    /// The third hop.
    public static let third = Self(known: 3)
    /// All hops, the guard first.
    public static let all = [first, second, third]

    /// The hop after this one; `nil` after the third.
    public var next: Self? {
        Self(rawValue: rawValue + 1)
    }

    /// The hop at a zero-based place; `nil` unless that is 0, 1 or 2.
    public init?(offset: Int) {
        guard (0...2).contains(offset) else { return nil }
        self.init(known: UInt8(truncatingIfNeeded: offset + 1))
    }

    /// Zero-based place, for arrays.
    public var offset: Int {
        Int(rawValue) - 1
    }

    /// Whether `lhs` is nearer to the client.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

/// Sizes and places within the nested layers of a cell body.
///
/// Spec: §C.3.
///
/// A layer is `inner | hdr 8 | tag 16`, sealed and opened where it lies: the inner layer begins
/// where the outer one does, so that no hop moves a byte. Of the 1356 bytes of a body the layer of
/// hop i takes the first `1356 - 24 (i - 1)`; what is behind it is filler.
public enum OnionLayer {
    /// Bytes a layer adds: its header and its tag.
    public static let overhead = 24
    /// Bytes of a layer's header.
    public static let headerByteCount = 8

    /// Bytes of the whole layer of `hop`: 1356, 1332 or 1308.
    @inlinable
    public static func byteCount(at hop: HopIndex) -> Int {
        Datagram.bodyByteCount - overhead * (Int(hop.rawValue) - 1)
    }

    /// Bytes within the layer of `hop`: 1332, 1308 or 1284.
    @inlinable
    public static func innerByteCount(at hop: HopIndex) -> Int {
        byteCount(at: hop) - overhead
    }
}

/// What the hop that opened a layer does with its inside.
///
/// Spec: §C.3.
public enum LayerCommand: UInt8, Sendable, BitwiseCopyable {
    /// Pass the inner layer on.
    case forward = 0
    /// The inside is records for this hop, or from this hop.
    case deliver = 1
    /// Cover ends here.
    case drop = 2
    /// Parity of `mix`.
    case parity = 3
}

/// The eight bytes at the end of a layer's inside.
///
/// Spec: §C.3.
public struct LayerHeader: Equatable, Sendable, BitwiseCopyable {
    /// What to do with the inside.
    public var command: LayerCommand
    /// Marks, see ``Flags``.
    public var flags: Flags
    /// Forward: hold in 250 us units; backward: queue delay in 100 us units.
    public var auxiliary: UInt16
    /// Key epoch and counter of the inner layer, for the next link header.
    public var nextCounter: UInt32

    /// Marks a layer carries.
    public struct Flags: OptionSet, Sendable, BitwiseCopyable {
        /// The bits as they travel.
        public let rawValue: UInt8

        /// Takes the bits over.
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// This cell waited in a queue longer than its bound.
        public static let congestionExperienced = Self(rawValue: 1)
        /// The hop drops what comes until it is paid.
        public static let unpaid = Self(rawValue: 2)
        /// The auxiliary field is a hold in slots.
        public static let slotHold = Self(rawValue: 4)
        /// Backward only: forward cells of the circuit waited so since the last backward cell.
        public static let forwardCongestion = Self(rawValue: 8)
    }

    /// Puts a header together.
    public init(
        command: LayerCommand,
        flags: Flags = [],
        auxiliary: UInt16 = 0,
        nextCounter: UInt32 = 0
    ) {
        self.command = command
        self.flags = flags
        self.auxiliary = auxiliary
        self.nextCounter = nextCounter
    }

    /// Reads the header that begins at `offset`.
    public init(parsing bytes: RawSpan, at offset: Int) throws(WireError) {
        let code = bytes.byte(at: offset)
        guard let command = LayerCommand(rawValue: code) else {
            throw .unknown(field: "layer cmd", value: UInt64(code))
        }
        self.command = command
        flags = Flags(rawValue: bytes.byte(at: offset + 1))
        auxiliary = bytes.loadBigEndian(at: offset + 2)
        nextCounter = bytes.loadBigEndian(at: offset + 4)
    }

    /// Writes the header from `offset` on.
    public func store(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.storeBigEndian(command.rawValue, at: offset)
        bytes.storeBigEndian(flags.rawValue, at: offset + 1)
        bytes.storeBigEndian(auxiliary, at: offset + 2)
        bytes.storeBigEndian(nextCounter, at: offset + 4)
    }
}

/// A layer's counter as it travels: key epoch in the top 2 bits, count in the low 30.
///
/// Spec: §C.3.
public struct LayerCounter: Hashable, Sendable, BitwiseCopyable {
    /// Both fields as they travel.
    public var rawValue: UInt32

    /// Takes the field over.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Joins `epoch` (0 early, 1...3 main) and the 30-bit `count`.
    @inlinable
    public init(epoch: UInt8, count: UInt32) {
        rawValue = UInt32(epoch & 3) << 30 | count & 0x3fff_ffff
    }

    /// 0 for early keys, 1...3 for main keys.
    @inlinable
    public var epoch: UInt8 {
        UInt8(truncatingIfNeeded: rawValue >> 30)
    }

    /// The counter within its epoch.
    @inlinable
    public var count: UInt32 {
        rawValue & 0x3fff_ffff
    }
}
