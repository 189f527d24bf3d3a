public import Base

/// A datagram between a client and the proxy: where it goes or comes from, and its payload.
///
/// Layout: 2 zero bytes, a fragment number, which must be 0, an address, the payload (RFC 1928 §7).
public struct SocksDatagram: Hashable, Sendable {
    /// The other end.
    public var host: ProxyHost
    /// Its port.
    public var port: UInt16
    /// What is carried.
    public var payload: ArraySlice<UInt8>

    /// Reads a datagram of a client.
    ///
    /// - Throws: ``ProxyError``; fragments are malformed too, as nobody sends them.
    public init(parsing bytes: [UInt8]) throws(ProxyError) {
        guard bytes.count > 3, bytes.prefix(3).allSatisfy({ $0 == 0 }),
            let target = try SocksAddress.parse(bytes.dropFirst(3))
        else { throw .malformed }
        host = target.host
        port = target.port
        payload = bytes.dropFirst(3 + target.byteCount)
    }

    /// The bytes that bring `payload` of `source` to a client.
    public static func encoded(
        _ payload: some Collection<UInt8>,
        from source: SocketAddress
    ) -> [UInt8] {
        [0, 0, 0] + SocksAddress.encoded(source) + payload
    }
}
