public import Base
public import Wire

/// One end of the reliable conversation between a client and one hop.
///
/// Spec: §C.4.
///
/// Sans-IO. ``send(_:)`` takes messages, ``nextRecord(now:)`` gives records to put into cells,
/// ``receive(_:now:)`` takes the other end's. Window 8; a record is repeated after
/// max(200 ms, 2 round trips), doubling, five times in all, then ``hasFailed``. Messages come out
/// once and in order. Bounds: 32 messages waiting, 4 KiB a message, 16 records out of order.
public struct ControlChannel: Sendable {
    /// Why a message was not taken.
    public enum SendError: Error, Equatable, Sendable {
        /// More than 32 pieces wait already.
        case full
        /// The message is longer than 4 KiB.
        case tooLong
    }

    /// A message that came whole.
    public struct Message: Equatable, Sendable {
        /// Its type byte.
        public let type: UInt8
        /// Its bytes.
        public let bytes: [UInt8]
    }

    private struct Piece: Sendable {
        var sequence: UInt16
        var type: UInt8
        var goesOn: Bool
        var bytes: [UInt8]
        var tries = 0
        var firstSent: Instant = .zero
        var due: Instant = .zero
        var wait: TimeSpan = .zero
        var isAcknowledged = false
    }

    private static let window = 8
    private static let pieceLimit = 32
    private static let messageLimit = 4096
    private static let aheadLimit: UInt16 = 16
    private static let tryLimit = 5
    private static let firstWait: TimeSpan = .milliseconds(300)
    private static let leastWait: TimeSpan = .milliseconds(200)
    private static let acknowledgeWithin: TimeSpan = .milliseconds(20)

    private let pieceByteCount: Int
    private var outgoing: [Piece] = []
    private var nextSequence: UInt16 = 0
    private var smoothedRoundTrip: TimeSpan?
    private var expected: UInt16 = 0
    // Pieces that came before their turn, by distance from `expected`.
    private var early: [UInt16: ControlRecord] = [:]
    private var partial: [UInt8] = []
    private var partialType: UInt8 = 0
    private var acknowledgeBy: Instant?
    /// Whether a record went unanswered five times.
    public private(set) var hasFailed = false

    /// Makes a conversation with `hop`, whose cells bound a record's size.
    public init(hop: HopIndex) {
        pieceByteCount =
            OnionLayer.innerByteCount(at: hop) - RecordPayload.headerByteCount
            - ControlRecord.headerByteCount
    }

    /// Queues a message.
    public mutating func send(_ message: ControlMessage) throws(SendError) {
        let bytes = message.encoded
        guard bytes.count <= Self.messageLimit else { throw .tooLong }
        let count = max(1, (bytes.count + pieceByteCount - 1) / pieceByteCount)
        guard outgoing.count + count <= Self.pieceLimit else { throw .full }
        for index in 0..<count {
            let start = index * pieceByteCount
            outgoing.append(
                Piece(
                    sequence: nextSequence,
                    type: message.type,
                    goesOn: index + 1 < count,
                    bytes: Array(bytes[start..<min(start + pieceByteCount, bytes.count)])
                )
            )
            nextSequence &+= 1
        }
    }

    /// Pieces that the other end has not acknowledged.
    public var waitingCount: Int {
        outgoing.count
    }

    /// When ``nextRecord(now:)`` has something to say.
    public var nextDeadline: Instant {
        var deadline = acknowledgeBy ?? .distantFuture
        for piece in outgoing.prefix(Self.window) where !piece.isAcknowledged {
            deadline = min(deadline, piece.due)
        }
        return deadline
    }

    /// The body of the next CTRL record to send; `nil` when there is none to send now.
    public mutating func nextRecord(now: Instant) -> [UInt8]? {
        for index in outgoing.indices.prefix(Self.window)
        where !outgoing[index].isAcknowledged && outgoing[index].due <= now {
            guard outgoing[index].tries < Self.tryLimit else {
                hasFailed = true
                outgoing[index].due = .distantFuture
                continue
            }
            if outgoing[index].tries == 0 {
                outgoing[index].firstSent = now
                outgoing[index].wait =
                    smoothedRoundTrip.map { max(Self.leastWait, $0 * 2) }
                    ?? Self.firstWait
            } else {
                outgoing[index].wait = outgoing[index].wait * 2
            }
            outgoing[index].tries += 1
            outgoing[index].due = now + outgoing[index].wait
            let piece = outgoing[index]
            return record(piece.sequence, piece.type, piece.goesOn, piece.bytes)
        }
        guard let by = acknowledgeBy, by <= now else { return nil }
        return record(0, 0, false, [])
    }

    /// Makes everything sent and unanswered due at once (the other end said it was dropped).
    public mutating func repeatAll(now: Instant) {
        for index in outgoing.indices where outgoing[index].tries > 0 { outgoing[index].due = now }
    }

    /// Bytes of messages that did not come whole yet.
    public var heldByteCount: Int {
        early.values.reduce(partial.count) { $0 + $1.message.count }
    }

    /// Takes a record of the other end; returns the messages that are whole by it.
    ///
    /// Without `mayHold`, a record that completes no message is left unanswered: it comes again.
    /// - Throws: ``WireError/tooLarge(field:value:limit:)`` for a message beyond 4 KiB,
    ///   ``WireError/invalid(field:)`` for pieces of different types; the conversation is over then.
    public mutating func receive(
        _ record: ControlRecord,
        mayHold: Bool = true,
        now: Instant
    ) throws(WireError) -> [Message] {
        acknowledge(record, now: now)
        guard record.type != 0 else { return [] }
        let isOld = expected &- record.sequence <= Self.aheadLimit && record.sequence != expected
        guard mayHold || isOld || (record.sequence == expected && !record.goesOn) else { return [] }
        acknowledgeBy = min(acknowledgeBy ?? .distantFuture, now + Self.acknowledgeWithin)
        guard record.sequence &- expected < Self.aheadLimit else { return [] }
        early[record.sequence] = record
        var messages: [Message] = []
        while let next = early.removeValue(forKey: expected) {
            expected &+= 1
            if partial.isEmpty { partialType = next.type }
            guard next.type == partialType else { throw .invalid(field: "CTRL type") }
            partial += next.message
            guard partial.count <= Self.messageLimit else {
                defer { partial = [] }
                throw .tooLarge(
                    field: "CTRL message",
                    value: UInt64(partial.count),
                    limit: UInt64(Self.messageLimit)
                )
            }
            if !next.goesOn {
                messages.append(Message(type: next.type, bytes: partial))
                partial = []
            }
        }
        return messages
    }

    private mutating func record(
        _ sequence: UInt16,
        _ type: UInt8,
        _ goesOn: Bool,
        _ bytes: [UInt8]
    ) -> [UInt8] {
        acknowledgeBy = nil
        var bits: UInt16 = 0
        for distance in UInt16(0)..<16 where early[expected &+ 1 &+ distance] != nil {
            bits |= 1 << distance
        }
        return ControlRecord(
            sequence: sequence,
            acknowledged: expected,
            acknowledgedBits: bits,
            type: type,
            goesOn: goesOn,
            message: bytes
        ).encoded
    }

    private mutating func acknowledge(_ record: ControlRecord, now: Instant) {
        for index in outgoing.indices
        where outgoing[index].tries > 0 && !outgoing[index].isAcknowledged {
            let behind = record.acknowledged &- outgoing[index].sequence
            let ahead = outgoing[index].sequence &- record.acknowledged
            let isCovered =
                (1...UInt16(Self.pieceLimit)).contains(behind)
                || ((1...16).contains(ahead) && record.acknowledgedBits >> (ahead - 1) & 1 == 1)
            guard isCovered else { continue }
            outgoing[index].isAcknowledged = true
            // Karn: a repeated piece tells nothing of the round trip.
            if outgoing[index].tries == 1 {
                let sample = now - outgoing[index].firstSent
                smoothedRoundTrip = smoothedRoundTrip.map { ($0 * 7 + sample) / 8 } ?? sample
            }
        }
        while outgoing.first?.isAcknowledged == true { outgoing.removeFirst() }
    }
}
