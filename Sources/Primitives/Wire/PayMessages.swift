/// A hop's answer to PAY_OPEN and PAY_ATTACH.
///
/// Layout (§A.5): `status u8 | paid u32`, 5 bytes.
public struct PayResult: Hashable, Sendable {
    /// How it went.
    public enum Status: UInt8, CaseIterable, Sendable {
        /// The voucher stands, and its ticks count.
        case taken = 0
        /// Vouchers of its epoch are not taken now.
        case epoch = 1
        /// The hop knows no such set of mints, or lacks a key of it.
        case keys = 2
        /// It is not signed by its mints for this hop, or the place is not on its chain.
        case invalid = 3
        /// It was opened before.
        case seen = 4
        /// The hop cannot keep it now.
        case full = 5
        /// PAY_ATTACH: nobody opened it here.
        case unknown = 6
    }

    /// How it went.
    public var status: Status
    /// Ticks the hop has been paid on this circuit.
    public var paidTicks: UInt32

    /// Puts an answer together.
    public init(status: Status, paidTicks: UInt32) {
        self.status = status
        self.paidTicks = paidTicks
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let code = try reader.read(UInt8.self)
        guard let status = Status(rawValue: code) else {
            throw .unknown(field: "pay status", value: UInt64(code))
        }
        self.status = status
        paidTicks = try reader.read()
    }

    func write(to writer: inout ByteWriter) {
        writer.write(status.rawValue)
        writer.write(paidTicks)
    }
}

/// PAY_PASS: an authority's word that this circuit measures, and is carried without pay.
///
/// Layout (§A.5): `authority u8 | minute u32 | nonce 16 | signature 64`, 85 bytes. Signed is
/// ``body(for:)``, so that a pass serves one relay, once.
public struct PayPass: Hashable, Sendable {
    /// The authority's index.
    public var authority: UInt8
    /// Minutes since 1970 when it was made.
    public var minute: UInt32
    /// Drawn for this pass; 16 bytes.
    public var nonce: [UInt8]
    /// The authority's signature; 64 bytes.
    public var signature: [UInt8]

    /// Puts a pass together.
    public init(authority: UInt8, minute: UInt32, nonce: [UInt8], signature: [UInt8] = []) {
        self.authority = authority
        self.minute = minute
        self.nonce = nonce
        self.signature = signature
    }

    /// What the authority signs for the relay `relay`: `relay_id 32 | minute u32 | nonce 16`.
    public func body(for relay: NodeID) -> [UInt8] {
        var writer = ByteWriter(capacity: 52)
        writer.write(relay.rawValue)
        writer.write(minute)
        writer.write(nonce)
        return writer.bytes
    }

    init(from reader: inout ByteReader) throws(WireError) {
        authority = try reader.read()
        minute = try reader.read()
        nonce = try reader.read(byteCount: 16)
        signature = try reader.read(byteCount: 64)
    }

    func write(to writer: inout ByteWriter) {
        writer.write(authority)
        writer.write(minute)
        writer.write(nonce)
        writer.write(signature)
    }
}
