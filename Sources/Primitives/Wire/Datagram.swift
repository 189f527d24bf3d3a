import Base

/// The one datagram of the network: 1392 bytes, whatever it carries.
///
/// Spec: §C.2.
///
/// ```
///  0  sid   u32   receiver's link session; 0 marks a handshake datagram
///  4  seq   u32   link packet number, the AEAD nonce
///  8  H     12    sealed: circ u32 | ctr u32 | cmd u8 | flags u8 | reserved u16
/// 20  tag   16    over H, authenticating bytes 0..<8
/// 36  body  1356  onion layer, or sealed once more under the link's body key
/// ```
public enum Datagram {
    /// Bytes of every datagram.
    public static let byteCount = 1392
    /// Where the session identifier stands.
    public static let sessionOffset = 0
    /// Where the packet number stands.
    public static let sequenceOffset = 4
    /// Bytes authenticated with the header but not sealed.
    public static let clearByteCount = 8
    /// Where the sealed header stands.
    public static let headerOffset = 8
    /// Bytes of the sealed header.
    public static let headerByteCount = 12
    /// Where the header's tag stands.
    public static let headerTagOffset = 20
    /// Where the body begins.
    public static let bodyOffset = 36
    /// Bytes of the body.
    public static let bodyByteCount = 1356
    /// Bytes a body sealed under the link's body key has room for.
    public static let sealedBodyCapacity = bodyByteCount - 16
}

/// What a link datagram carries.
///
/// Spec: §C.2.
public enum CellCommand: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    /// Nothing: the body is noise.
    case padding = 0
    /// An onion layer on its way to the exit.
    case forward = 1
    /// An onion layer on its way to the client.
    case backward = 2
    /// The first message of a circuit handshake.
    case create = 3
    /// The answer to ``create``.
    case created = 4
    /// The circuit is gone.
    case destroy = 5
    /// A message between the two ends of the link.
    case linkControl = 6

    /// Whether the body is sealed under the link's body key.
    public var sealsBody: Bool {
        rawValue >= Self.create.rawValue
    }
}

/// A circuit's number on one link, drawn by the end that opened the circuit there.
///
/// The top bit is set by the end that opened the link, so that both may open circuits.
public struct CircuitNumber: Hashable, Sendable, BitwiseCopyable {
    /// The number as it travels.
    public var rawValue: UInt32

    /// Takes the number over.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Whether the end that opened the link drew it.
    public var isFromInitiator: Bool {
        rawValue >> 31 == 1
    }
}

/// The sealed part of a link header, in clear.
///
/// Spec: §C.2.
public struct LinkHeader: Equatable, Sendable, BitwiseCopyable {
    /// The circuit on this link; 0 where the command needs none.
    public var circuit: CircuitNumber
    /// Key epoch (2 bits) and counter (30 bits) of the onion layer in the body.
    public var counter: UInt32
    /// What the body is.
    public var command: CellCommand
    /// Congestion and other marks of the link; none is defined yet for links.
    public var flags: UInt8

    /// Puts a header together.
    @inlinable
    public init(
        circuit: CircuitNumber,
        counter: UInt32 = 0,
        command: CellCommand,
        flags: UInt8 = 0
    ) {
        self.circuit = circuit
        self.counter = counter
        self.command = command
        self.flags = flags
    }

    /// Reads the opened header of the datagram at `datagram`.
    public init(parsing bytes: RawSpan, datagram: Int) throws(WireError) {
        let offset = datagram + Datagram.headerOffset
        let code = bytes.byte(at: offset + 8)
        guard let command = CellCommand(rawValue: code) else {
            throw .unknown(field: "cmd", value: UInt64(code))
        }
        circuit = CircuitNumber(rawValue: bytes.loadBigEndian(at: offset))
        counter = bytes.loadBigEndian(at: offset + 4)
        self.command = command
        flags = bytes.byte(at: offset + 9)
    }

    /// Writes the header, still in clear, into the datagram at `datagram`.
    public func store(to bytes: inout MutableRawSpan, datagram: Int) {
        let offset = datagram + Datagram.headerOffset
        bytes.storeBigEndian(circuit.rawValue, at: offset)
        bytes.storeBigEndian(counter, at: offset + 4)
        bytes.storeBigEndian(command.rawValue, at: offset + 8)
        bytes.storeBigEndian(flags, at: offset + 9)
        bytes.storeBigEndian(UInt16(0), at: offset + 10)
    }
}
