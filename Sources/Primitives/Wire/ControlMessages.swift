public import Base

/// A CTRL record: one piece of the reliable conversation between a client and one hop.
///
/// Spec: §C.4.
///
/// `seq u16 | ack u16 | ackbits u16 | type u8 | message`; bit 7 of the type says that the message
/// goes on in the next number. Type 0 carries acknowledgements only and takes no number.
public struct ControlRecord: Equatable, Sendable {
    /// Bytes before the message.
    public static let headerByteCount = 7
    /// Kind of the record that carries it.
    public static let recordKind: UInt8 = 16
    /// Such records in one cell at most: a whole window.
    public static let cellLimit = 8

    /// Number of this piece; meaningless in a record that only acknowledges.
    public var sequence: UInt16
    /// Next number the sender waits for.
    public var acknowledged: UInt16
    /// Bit i: the piece `acknowledged + 1 + i` came too.
    public var acknowledgedBits: UInt16
    /// Type of the message, 0 for none.
    public var type: UInt8
    /// Whether the message goes on in the next piece.
    public var goesOn: Bool
    /// The message or a piece of it.
    public var message: [UInt8]

    /// Puts a record together.
    public init(
        sequence: UInt16,
        acknowledged: UInt16,
        acknowledgedBits: UInt16,
        type: UInt8,
        goesOn: Bool = false,
        message: [UInt8]
    ) {
        self.sequence = sequence
        self.acknowledged = acknowledged
        self.acknowledgedBits = acknowledgedBits
        self.type = type
        self.goesOn = goesOn
        self.message = message
    }

    /// Reads the body of a record of kind 16.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        sequence = try reader.read()
        acknowledged = try reader.read()
        acknowledgedBits = try reader.read()
        let code: UInt8 = try reader.read()
        type = code & 0x7f
        goesOn = code & 0x80 != 0
        message = reader.readRemaining()
        guard type != 0 || (!goesOn && message.isEmpty) else { throw .invalid(field: "CTRL type") }
    }

    /// Whether a record's body carries acknowledgements only, which nobody answers.
    public static func isAcknowledgement(_ body: [UInt8]) -> Bool {
        body.count >= headerByteCount && body[headerByteCount - 1] & 0x7f == 0
    }

    /// The record's body.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Self.headerByteCount + message.count)
        writer.write(sequence)
        writer.write(acknowledged)
        writer.write(acknowledgedBits)
        writer.write(goesOn ? type | 0x80 : type)
        writer.write(message)
        return writer.bytes
    }
}

/// What client and hop say to each other in CTRL records.
///
/// Spec: §C.4.
public enum ControlMessage: Equatable, Sendable {
    /// Asks a hop to make `next` the circuit's next hop.
    case extend(next: NodeID, create: [UInt8])
    /// The next hop's answer, or why there is none.
    case extended(ExtendResult)
    /// Asks the exit to carry packets.
    case openTunnel(OpenTunnel)
    /// The exit's answer.
    case tunnelOpened(TunnelOpened)
    /// Asks for an echo, or is one.
    case echo(isAnswer: Bool, nonce: UInt64)
    /// Ends the circuit.
    case close(reason: UInt8)
    /// Asks a hop for a part of the directory.
    case directoryAsk(DirectoryAsk)
    /// A part of the directory.
    case directoryPart(DirectoryPart)
    /// Shows a voucher.
    case payOpen(PayOpen)
    /// Answers a voucher or a pass.
    case payResult(PayResult)
    /// Pays further ticks of the newest voucher.
    case payTick(ChainPlace)
    /// Uses a voucher the hop knows on this circuit too.
    case payAttach(PayAttach)
    /// Asks a hop what it carried and was paid.
    case reportAsk
    /// What a hop carried and was paid.
    case report(HopReport)
    /// Shows an authority's pass.
    case payPass(PayPass)
    /// A part of a request for a mint.
    case mintAsk(MintAsk)
    /// A part of a mint's answer.
    case mintAnswer(MintAnswerPart)

    /// How an extension went.
    public enum ExtendResult: Equatable, Sendable {
        /// The next hop's CREATED body, 112 bytes.
        case created([UInt8])
        /// It failed.
        case failed(ExtendFailure)
    }

    /// Why an extension failed.
    public enum ExtendFailure: UInt8, Sendable {
        /// The consensus does not list it.
        case unknownRelay = 1
        /// Not allowed: self, previous hop, or already extended.
        case refused = 2
        /// The next hop did not answer.
        case unreachable = 3
        /// No capacity now.
        case busy = 4
    }

    /// OPEN_TUN as a client asks it.
    public struct OpenTunnel: Equatable, Sendable {
        /// Bit 0 IPv4, bit 1 IPv6.
        public var families: UInt8
        /// Secret of the lease to take over; zero for a new lease.
        public var leaseSecret: Bytes32

        /// Asks for `families` under the lease with `leaseSecret`.
        public init(families: UInt8, leaseSecret: Bytes32) {
            self.families = families
            self.leaseSecret = leaseSecret
        }
    }

    /// OPEN_TUN as an exit answers it.
    public struct TunnelOpened: Equatable, Sendable {
        /// How it went.
        public enum Status: UInt8, Sendable {
            /// A new lease.
            case opened = 0
            /// The old lease goes on: flows survive.
            case takenOver = 1
            /// This relay is no exit.
            case notAnExit = 2
            /// No address is free.
            case full = 3
        }

        /// How it went.
        public var status: Status
        /// Families the exit carries: bit 0 IPv4, bit 1 IPv6.
        public var families: UInt8
        /// Secret with which another circuit may take the lease over.
        public var leaseSecret: Bytes32
        /// Seconds without a circuit after which the lease ends.
        public var idleLimit: UInt16

        /// Puts an answer together.
        public init(status: Status, families: UInt8, leaseSecret: Bytes32, idleLimit: UInt16) {
            self.status = status
            self.families = families
            self.leaseSecret = leaseSecret
            self.idleLimit = idleLimit
        }
    }

    /// The type byte.
    public var type: UInt8 {
        switch self {
        case .extend: 1
        case .extended: 2
        case .openTunnel, .tunnelOpened: 7
        case .echo: 8
        case .close: 10
        case .directoryAsk, .directoryPart: 11
        case .payOpen, .payResult: 3
        case .payTick: 4
        case .payAttach: 5
        case .report, .reportAsk: 6
        case .payPass: 13
        case .mintAsk, .mintAnswer: 12
        }
    }

    /// Reads a whole message; `fromClient` tells a request from its answer where both share a type.
    public init(type: UInt8, parsing bytes: [UInt8], fromClient: Bool) throws(WireError) {
        var reader = ByteReader(bytes)
        switch type {
        case 1:
            self = .extend(
                next: NodeID(try reader.readBytes32()),
                create: try reader.read(byteCount: CreateBody.circuitByteCount)
            )
        case 2:
            let status: UInt8 = try reader.read()
            if status == 0 {
                let created = try reader.read(byteCount: CreatedBody.byteCount)
                self = .extended(.created(created))
            } else {
                guard let failure = ExtendFailure(rawValue: status) else {
                    throw .unknown(field: "EXTENDED status", value: UInt64(status))
                }
                self = .extended(.failed(failure))
            }
        case 7 where fromClient:
            self = .openTunnel(
                OpenTunnel(families: try reader.read(), leaseSecret: try reader.readBytes32())
            )
        case 7:
            let code: UInt8 = try reader.read()
            guard let status = TunnelOpened.Status(rawValue: code) else {
                throw .unknown(field: "OPEN_TUN status", value: UInt64(code))
            }
            self = .tunnelOpened(
                TunnelOpened(
                    status: status,
                    families: try reader.read(),
                    leaseSecret: try reader.readBytes32(),
                    idleLimit: try reader.read()
                )
            )
        case 8:
            let flags: UInt8 = try reader.read()
            self = .echo(isAnswer: flags & 1 == 1, nonce: try reader.read())
        case 10: self = .close(reason: try reader.read())
        case 11 where fromClient: self = .directoryAsk(try DirectoryAsk(from: &reader))
        case 11: self = .directoryPart(try DirectoryPart(from: &reader))
        case 3 where fromClient: self = .payOpen(try PayOpen(from: &reader))
        case 3: self = .payResult(try PayResult(from: &reader))
        case 4: self = .payTick(try ChainPlace(from: &reader))
        case 5: self = .payAttach(try PayAttach(from: &reader))
        case 6 where fromClient: self = .reportAsk
        case 6: self = .report(try HopReport(from: &reader))
        case 12 where fromClient: self = .mintAsk(try MintAsk(from: &reader))
        case 12: self = .mintAnswer(try MintAnswerPart(from: &reader))
        case 13: self = .payPass(try PayPass(from: &reader))
        default: throw .unknown(field: "CTRL type", value: UInt64(type))
        }
        try reader.finish()
    }

    /// The message's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .extend(let next, let create):
            writer.write(next.rawValue)
            writer.write(create)
        case .extended(.created(let body)):
            writer.write(UInt8(0))
            writer.write(body)
        case .extended(.failed(let failure)):
            writer.write(failure.rawValue)
        case .openTunnel(let request):
            writer.write(request.families)
            writer.write(request.leaseSecret)
        case .tunnelOpened(let answer):
            writer.write(answer.status.rawValue)
            writer.write(answer.families)
            writer.write(answer.leaseSecret)
            writer.write(answer.idleLimit)
        case .echo(let isAnswer, let nonce):
            writer.write(UInt8(isAnswer ? 1 : 0))
            writer.write(nonce)
        case .close(let reason):
            writer.write(reason)
        case .directoryAsk(let ask): ask.write(to: &writer)
        case .directoryPart(let part): part.write(to: &writer)
        case .payOpen(let open): open.write(to: &writer)
        case .payResult(let result): result.write(to: &writer)
        case .payTick(let place): place.write(to: &writer)
        case .payAttach(let attach): attach.write(to: &writer)
        case .reportAsk: break
        case .report(let report): report.write(to: &writer)
        case .payPass(let pass): pass.write(to: &writer)
        case .mintAsk(let ask): ask.write(to: &writer)
        case .mintAnswer(let part): part.write(to: &writer)
        }
        return writer.bytes
    }
}

/// Why a circuit was destroyed, as far as a neighbour is told.
///
/// Spec: §B.3.
public enum DestroyReason: UInt8, Sendable {
    /// The client or a hop is done with it.
    case finished = 0
    /// The CREATE was sealed to a key the relay no longer holds.
    case staleKey = 1
    /// No capacity now.
    case busy = 2
    /// A rule of the protocol was broken.
    case violation = 3
    /// The next hop's link was lost.
    case linkLost = 4
}
