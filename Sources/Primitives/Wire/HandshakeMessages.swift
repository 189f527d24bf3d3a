public import Base

/// What a client tells each hop when it creates a circuit, sealed in CREATE.
///
/// Spec: §B.2 (CM).
public struct ClientMessage: Equatable, Sendable {
    /// Bytes on the wire.
    public static let byteCount = 32
    /// The protocol's version.
    public static let version: UInt8 = 1

    /// 0 on links; 1, 2 or 3 on circuits.
    public var hop: UInt8
    /// Suite of algorithms; 1 is the only one.
    public var suite: UInt8 = 1
    /// Traffic mode: 0 fast, 1 padded, 2 mix.
    public var mode: UInt8 = 0
    /// Minutes since 1970 by the client's clock; 0 where the client does not trust it.
    public var minute: UInt32
    /// Slot length of `mix` in tens of microseconds.
    public var slot: UInt16 = 0
    /// Step of the rate ladder upwards.
    public var upRate: UInt8 = 0
    /// Step of the rate ladder downwards.
    public var downRate: UInt8 = 0
    /// Bit 0: first contact, nothing will be paid.
    public var flags: UInt16 = 0

    /// The bit of ``flags`` that says so.
    public static let firstContact: UInt16 = 1
    /// The highest step of the rate ladder.
    public static let rateStepLimit: UInt8 = 3

    /// What the circuit's traffic is to look like at this hop; `nil` for what no reader takes.
    public var shape: TrafficShape? {
        try? TrafficShape(mode: mode, slot: slot)
    }

    /// Whether nothing will be paid for the circuit, which gets vouchers for others.
    public var isFirstContact: Bool {
        flags & Self.firstContact != 0
    }

    /// A message for the hop at `hop`, sent in `minute`.
    public init(hop: UInt8, minute: UInt32) {
        self.hop = hop
        self.minute = minute
    }

    /// Reads the first 32 of `bytes`.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let version: UInt8 = try reader.read()
        guard version == Self.version else {
            throw .unknown(field: "CM version", value: UInt64(version))
        }
        hop = try reader.read()
        guard hop <= 3 else { throw .invalid(field: "CM hop") }
        suite = try reader.read()
        guard suite == 1 else { throw .unknown(field: "CM suite", value: UInt64(suite)) }
        mode = try reader.read()
        minute = try reader.read()
        slot = try reader.read()
        _ = try TrafficShape(mode: mode, slot: slot)
        upRate = try reader.read()
        downRate = try reader.read()
        guard upRate <= Self.rateStepLimit, downRate <= Self.rateStepLimit else {
            throw .invalid(field: "CM rates")
        }
        flags = try reader.read()
        _ = try reader.read(byteCount: 18)
    }

    /// The 32 bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Self.byteCount)
        writer.write(Self.version)
        writer.write(hop)
        writer.write(suite)
        writer.write(mode)
        writer.write(minute)
        writer.write(slot)
        writer.write(upRate)
        writer.write(downRate)
        writer.write(flags)
        writer.writeZeros(18)
        return writer.bytes
    }
}

/// What a relay answers with, sealed in CREATED.
///
/// Spec: §B.2 (SM).
public struct ServerMessage: Equatable, Sendable {
    /// Bytes on the wire.
    public static let byteCount = 64

    /// Whether the early data was taken.
    public enum Status: UInt8, Sendable {
        /// All is well.
        case accepted = 0
        /// Early cells were dropped: send them again under the main key.
        case earlyRefused = 1
    }

    /// Whether the early data was taken.
    public var status: Status
    /// How busy the relay is, 0...255.
    public var load: UInt8 = 0
    /// Ticks the relay extends before it wants payment.
    public var windowTicks: UInt16 = 0
    /// `valid_after` of the newest consensus the relay holds, seconds since 1970.
    public var consensusValidAfter: UInt32 = 0
    /// First 16 bytes of that consensus' digest.
    public var consensusDigest: [UInt8] = Array(repeating: 0, count: 16)
    /// Size of the log it stands in.
    public var logSize: UInt32 = 0
    /// Feature bits.
    public var features: UInt32 = 0
    /// Minute the relay started in.
    public var bootMinute: UInt32 = 0
    /// Minute by the relay's clock.
    public var minute: UInt32 = 0
    /// On links: where the question came from, as the relay sees it; `nil` where it does not say.
    public var seenAddress: SocketAddress?

    /// An answer with `status` and nothing else.
    public init(status: Status) {
        self.status = status
    }

    /// Reads 64 bytes.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let code: UInt8 = try reader.read()
        guard let status = Status(rawValue: code) else {
            throw .unknown(field: "SM status", value: UInt64(code))
        }
        self.status = status
        load = try reader.read()
        windowTicks = try reader.read()
        consensusValidAfter = try reader.read()
        consensusDigest = try reader.read(byteCount: 16)
        logSize = try reader.read()
        features = try reader.read()
        bootMinute = try reader.read()
        minute = try reader.read()
        let ip = IPAddress(high: try reader.read(), low: try reader.read())
        let port: UInt16 = try reader.read()
        seenAddress = port > 0 ? SocketAddress(ip: ip, port: port) : nil
        _ = try reader.read(byteCount: 6)
        try reader.finish()
    }

    /// The 64 bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Self.byteCount)
        writer.write(status.rawValue)
        writer.write(load)
        writer.write(windowTicks)
        writer.write(consensusValidAfter)
        writer.write(Array(consensusDigest.prefix(16)))
        writer.writeZeros(16 - min(16, consensusDigest.count))
        writer.write(logSize)
        writer.write(features)
        writer.write(bootMinute)
        writer.write(minute)
        writer.write(seenAddress?.ip.high ?? 0)
        writer.write(seenAddress?.ip.low ?? 0)
        writer.write(seenAddress?.port ?? 0)
        writer.writeZeros(6)
        return writer.bytes
    }
}

/// First message of a handshake: `key_id 8 | X 32 | ct 1120 | c_cm`.
///
/// Spec: §B.2.
///
/// 1208 bytes for circuits (CM of 32), 1304 for links (CM of 128).
public struct CreateBody: Hashable, Sendable {
    /// Bytes of the body of a circuit handshake.
    public static let circuitByteCount = 1208
    /// Bytes of the body of a link handshake.
    public static let linkByteCount = 1304
    /// Bytes of an X-Wing ciphertext.
    public static let ciphertextByteCount = 1120

    /// First eight bytes of SHA-256 over the relay's X-Wing public key.
    public var keyID: UInt64
    /// The client's X25519 public key.
    public var publicKey: Bytes32
    /// The X-Wing ciphertext, 1120 bytes.
    public var ciphertext: [UInt8]
    /// The sealed client message with its tag.
    public var sealedMessage: [UInt8]

    /// Puts a body together.
    public init(keyID: UInt64, publicKey: Bytes32, ciphertext: [UInt8], sealedMessage: [UInt8]) {
        self.keyID = keyID
        self.publicKey = publicKey
        self.ciphertext = ciphertext
        self.sealedMessage = sealedMessage
    }

    /// Reads a body of exactly 1208 or 1304 bytes.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count == Self.circuitByteCount || bytes.count == Self.linkByteCount else {
            throw .truncated(
                neededByteCount: Self.circuitByteCount,
                foundByteCount: bytes.count
            )
        }
        var reader = ByteReader(bytes)
        keyID = try reader.read()
        publicKey = try reader.readBytes32()
        ciphertext = try reader.read(byteCount: Self.ciphertextByteCount)
        sealedMessage = reader.readRemaining()
    }

    /// The bytes as they travel.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Self.linkByteCount)
        writer.write(keyID)
        writer.write(publicKey)
        writer.write(ciphertext)
        writer.write(sealedMessage)
        return writer.bytes
    }
}

/// Answer of a handshake: `Y 32 | c_sm 80`, 112 bytes.
///
/// Spec: §B.2.
public struct CreatedBody: Hashable, Sendable {
    /// Bytes on the wire.
    public static let byteCount = 112

    /// The relay's X25519 public key.
    public var publicKey: Bytes32
    /// The sealed server message with its tag, 80 bytes.
    public var sealedMessage: [UInt8]

    /// Puts an answer together.
    public init(publicKey: Bytes32, sealedMessage: [UInt8]) {
        self.publicKey = publicKey
        self.sealedMessage = sealedMessage
    }

    /// Reads the 112 bytes.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        publicKey = try reader.readBytes32()
        sealedMessage = try reader.read(byteCount: ServerMessage.byteCount + 16)
        try reader.finish()
    }

    /// The bytes as they travel.
    public var encoded: [UInt8] {
        publicKey.bytes + sealedMessage
    }
}
