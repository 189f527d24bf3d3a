public import Base

/// Where a relay answers: one IPv4 address and port, one IPv6 address and port, or both.
///
/// Layout (§E.2): `present u8 (1 IPv4, 2 IPv6, 3 both) | IPv4 4, port u16 | IPv6 16, port u16`.
public struct RelayAddresses: Hashable, Sendable {
    /// The IPv4 address and port.
    public let v4: SocketAddress?
    /// The IPv6 address and port.
    public let v6: SocketAddress?

    /// Takes at least one address.
    ///
    /// - Throws: ``WireError/invalid(field:)`` when there is none, an address is of the other
    ///   version, unspecified, loopback or multicast, or a port is 0.
    public init(v4: SocketAddress?, v6: SocketAddress?) throws(WireError) {
        guard v4 != nil || v6 != nil else { throw .invalid(field: "addresses") }
        if let v4, let word = v4.ip.v4 {
            let isUnicast = word >> 24 != 0 && word >> 24 != 127 && word >> 28 < 0xe
            guard isUnicast, v4.port != 0 else { throw .invalid(field: "IPv4 address") }
        } else if v4 != nil {
            throw .invalid(field: "IPv4 address")
        }
        if let v6 {
            let isUnicast = (v6.ip.high != 0 || v6.ip.low > 1) && v6.ip.high >> 56 != 0xff
            guard !v6.ip.isV4, isUnicast, v6.port != 0 else {
                throw .invalid(field: "IPv6 address")
            }
        }
        self.v4 = v4
        self.v6 = v6
    }

    /// The addresses there are, IPv4 first.
    public var all: [SocketAddress] {
        [v4, v6].compactMap(\.self)
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let present = try reader.read(UInt8.self)
        guard (1...3).contains(present) else {
            throw .unknown(field: "address kinds", value: UInt64(present))
        }
        var v4: SocketAddress?
        if present & 1 != 0 {
            let word = try reader.read(UInt32.self)
            v4 = SocketAddress(ip: IPAddress(v4: word), port: try reader.read())
        }
        var v6: SocketAddress?
        if present & 2 != 0 {
            let high = try reader.read(UInt64.self)
            let low = try reader.read(UInt64.self)
            v6 = SocketAddress(ip: IPAddress(high: high, low: low), port: try reader.read())
        }
        try self.init(v4: v4, v6: v6)
    }

    func write(to writer: inout ByteWriter) {
        writer.write(UInt8((v4 == nil ? 0 : 1) | (v6 == nil ? 0 : 2)))
        if let v4, let word = v4.ip.v4 {
            writer.write(word)
            writer.write(v4.port)
        }
        if let v6 {
            writer.write(v6.ip.high)
            writer.write(v6.ip.low)
            writer.write(v6.port)
        }
    }

    static let minimumByteCount = 7
    static let maximumByteCount = 25
}
