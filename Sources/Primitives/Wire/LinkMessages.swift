import Base

/// A link session's number, drawn by the end that receives under it; never 0.
public struct SessionID: Hashable, Sendable, BitwiseCopyable {
    /// The number as it travels.
    public let rawValue: UInt32

    /// Takes the number over; `nil` for 0, which marks handshakes.
    public init?(rawValue: UInt32) {
        guard rawValue != 0 else { return nil }
        self.rawValue = rawValue
    }

    /// The shard that receives under this number, of `count`.
    ///
    /// - Precondition: `count` is positive.
    public func shard(of count: Int) -> Int {
        Int(rawValue) % count
    }
}

/// The three handshake datagrams of a link.
///
/// Spec: §B.5.
public enum HandshakeDatagram: Sendable {
    /// Opens a link.
    case initiation(LinkInitiation)
    /// Answers an initiation.
    case response(LinkResponse)
    /// Asks for proof of address, and of work.
    case cookie(LinkCookie)

    /// Reads a datagram of 1392 bytes whose session number is 0.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count == Datagram.byteCount else {
            throw .truncated(neededByteCount: Datagram.byteCount, foundByteCount: bytes.count)
        }
        var reader = ByteReader(bytes)
        let session: UInt32 = try reader.read()
        guard session == 0 else { throw .invalid(field: "handshake sid") }
        let type: UInt8 = try reader.read()
        switch type {
        case 1: self = .initiation(try LinkInitiation(reading: &reader, whole: bytes))
        case 2: self = .response(try LinkResponse(reading: &reader))
        case 3: self = .cookie(try LinkCookie(reading: &reader))
        default: throw .unknown(field: "handshake type", value: UInt64(type))
        }
    }

    fileprivate static func readVersion(_ reader: inout ByteReader) throws(WireError) {
        let version: UInt8 = try reader.read()
        guard version == 1 else { throw .unknown(field: "version", value: UInt64(version)) }
        _ = try reader.read(UInt16.self)
    }

    fileprivate static func readSession(_ reader: inout ByteReader) throws(WireError) -> SessionID {
        guard let session = SessionID(rawValue: try reader.read()) else {
            throw .invalid(field: "sid")
        }
        return session
    }
}

/// INIT: opens a link.
///
/// Spec: §B.5.
public struct LinkInitiation: Equatable, Sendable {
    /// Where the initiator's session number lies in the datagram.
    public static let sessionOffset = 8
    /// Bytes before the proof of work, which it covers.
    public static let workByteCount = 1316
    /// Bytes before mac1, which it covers.
    public static let mac1Offset = 1360

    /// Session under which the initiator receives.
    public var session: SessionID
    /// The handshake's first message, with a link's long CM.
    public var body: CreateBody
    /// Solution of the puzzle a cookie posed; 0 where none was asked for.
    public var work: UInt64
    /// Random bytes that fill the datagram, 36.
    public var filler: [UInt8]
    /// Keyed by the receiver's public key, over all before it.
    public var mac1: [UInt8]
    /// Keyed by a cookie, over all before it; zero where there is none.
    public var mac2: [UInt8]
    /// The whole datagram as it came or goes; macs are computed over its front.
    public private(set) var datagram: [UInt8] = []

    /// An initiation without its macs.
    public init(session: SessionID, body: CreateBody, work: UInt64, filler: [UInt8]) {
        self.session = session
        self.body = body
        self.work = work
        self.filler = filler
        mac1 = Array(repeating: 0, count: 16)
        mac2 = Array(repeating: 0, count: 16)
    }

    init(reading reader: inout ByteReader, whole: [UInt8]) throws(WireError) {
        try HandshakeDatagram.readVersion(&reader)
        session = try HandshakeDatagram.readSession(&reader)
        body = try CreateBody(parsing: try reader.read(byteCount: CreateBody.linkByteCount))
        work = try reader.read()
        filler = try reader.read(byteCount: 36)
        mac1 = try reader.read(byteCount: 16)
        mac2 = try reader.read(byteCount: 16)
        try reader.finish()
        datagram = whole
    }

    /// The 1392 bytes; front parts of them are what macs and work cover.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Datagram.byteCount)
        writer.write(UInt32(0))
        writer.write(UInt8(1))
        writer.write(UInt8(1))
        writer.write(UInt16(0))
        writer.write(session.rawValue)
        writer.write(body.encoded)
        writer.write(work)
        writer.write(filler)
        writer.write(mac1)
        writer.write(mac2)
        return writer.bytes
    }
}

/// RESP: answers an initiation.
///
/// Spec: §B.5.
public struct LinkResponse: Equatable, Sendable {
    /// Session under which the responder receives.
    public var session: SessionID
    /// The initiator's session, which this answers.
    public var initiatorSession: SessionID
    /// The handshake's second message.
    public var body: CreatedBody
    /// Random bytes that fill the datagram, 1264.
    public var filler: [UInt8]

    /// Puts a response together.
    public init(
        session: SessionID,
        initiatorSession: SessionID,
        body: CreatedBody,
        filler: [UInt8]
    ) {
        self.session = session
        self.initiatorSession = initiatorSession
        self.body = body
        self.filler = filler
    }

    /// Bytes of random filler.
    public static let fillerByteCount = 1264

    init(reading reader: inout ByteReader) throws(WireError) {
        try HandshakeDatagram.readVersion(&reader)
        session = try HandshakeDatagram.readSession(&reader)
        initiatorSession = try HandshakeDatagram.readSession(&reader)
        body = try CreatedBody(parsing: try reader.read(byteCount: CreatedBody.byteCount))
        filler = try reader.read(byteCount: Self.fillerByteCount)
        try reader.finish()
    }

    /// The 1392 bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Datagram.byteCount)
        writer.write(UInt32(0))
        writer.write(UInt8(2))
        writer.write(UInt8(1))
        writer.write(UInt16(0))
        writer.write(session.rawValue)
        writer.write(initiatorSession.rawValue)
        writer.write(body.encoded)
        writer.write(filler)
        return writer.bytes
    }
}

/// COOKIE: asks an initiator for proof of its address.
///
/// Spec: §B.5.
public struct LinkCookie: Equatable, Sendable {
    /// The initiator's session, which this answers.
    public var initiatorSession: SessionID
    /// Leading zero bits the next initiation's work must show; 0 for none.
    public var effort: UInt8
    /// Nonce of the sealed cookie, 24 bytes.
    public var nonce: [UInt8]
    /// The cookie sealed under a key made of the relay's public key, 32 bytes.
    public var sealedCookie: [UInt8]
    /// Random bytes that fill the datagram, 1326.
    public var filler: [UInt8]

    /// Bytes of random filler.
    public static let fillerByteCount = 1326

    /// Puts a cookie together.
    public init(
        initiatorSession: SessionID,
        effort: UInt8,
        nonce: [UInt8],
        sealedCookie: [UInt8],
        filler: [UInt8]
    ) {
        self.initiatorSession = initiatorSession
        self.effort = effort
        self.nonce = nonce
        self.sealedCookie = sealedCookie
        self.filler = filler
    }

    init(reading reader: inout ByteReader) throws(WireError) {
        initiatorSession = try HandshakeDatagram.readSession(&reader)
        effort = try reader.read()
        nonce = try reader.read(byteCount: 24)
        sealedCookie = try reader.read(byteCount: 32)
        filler = try reader.read(byteCount: Self.fillerByteCount)
        try reader.finish()
    }

    /// The 1392 bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Datagram.byteCount)
        writer.write(UInt32(0))
        writer.write(UInt8(3))
        writer.write(initiatorSession.rawValue)
        writer.write(effort)
        writer.write(nonce)
        writer.write(sealedCookie)
        writer.write(filler)
        return writer.bytes
    }
}

/// The inside of a LINK_CTRL cell.
///
/// Spec: §B.5.
public enum LinkControlMessage: Equatable, Sendable {
    /// Asks for a ``pong(nonce:time:)``.
    case ping(nonce: UInt64)
    /// Answers a ping; `time` is the sender's, in microseconds since 1970, or 0: it does not say.
    case pong(nonce: UInt64, time: UInt64 = 0)
    /// Starts a handshake for new keys of this link, inside the old ones.
    case rekey(session: SessionID, body: CreateBody)
    /// Answers ``rekey(session:body:)``.
    case rekeyed(session: SessionID, initiatorSession: SessionID, body: CreatedBody)
    /// The sender is about to leave: the link is gone.
    case close

    /// Reads the front of an opened body; what is behind the message is filler.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let type: UInt8 = try reader.read()
        switch type {
        case 1: self = .ping(nonce: try reader.read())
        case 2: self = .pong(nonce: try reader.read(), time: try reader.read())
        case 3:
            self = .rekey(
                session: try HandshakeDatagram.readSession(&reader),
                body: try CreateBody(parsing: try reader.read(byteCount: CreateBody.linkByteCount))
            )
        case 4:
            self = .rekeyed(
                session: try HandshakeDatagram.readSession(&reader),
                initiatorSession: try HandshakeDatagram.readSession(&reader),
                body: try CreatedBody(parsing: try reader.read(byteCount: CreatedBody.byteCount))
            )
        case 5: self = .close
        default: throw .unknown(field: "link control type", value: UInt64(type))
        }
    }

    /// The message's bytes, without filler.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .ping(let nonce):
            writer.write(UInt8(1))
            writer.write(nonce)
        case .pong(let nonce, let time):
            writer.write(UInt8(2))
            writer.write(nonce)
            writer.write(time)
        case .rekey(let session, let body):
            writer.write(UInt8(3))
            writer.write(session.rawValue)
            writer.write(body.encoded)
        case .rekeyed(let session, let initiatorSession, let body):
            writer.write(UInt8(4))
            writer.write(session.rawValue)
            writer.write(initiatorSession.rawValue)
            writer.write(body.encoded)
        case .close:
            writer.write(UInt8(5))
        }
        return writer.bytes
    }
}
