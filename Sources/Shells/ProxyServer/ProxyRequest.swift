public import Base

/// Who a connection to the proxy says it is; each pair has a network of its own.
public struct ProxyCredentials: Hashable, Sendable {
    /// The user's name, up to 255 bytes, of any content.
    public var user: [UInt8]
    /// The password, up to 255 bytes; for HTTP both are in ``user``, as they came.
    public var password: [UInt8]

    /// Makes credentials from their parts.
    public init(user: [UInt8], password: [UInt8]) {
        self.user = user
        self.password = password
    }
}

/// Where a client of the proxy wants to go.
public enum ProxyHost: Hashable, Sendable {
    /// An address.
    case address(IPAddress)
    /// A name, 1 to 255 letters, digits or any of `-_.`, to be resolved in the tunnel.
    case name(String)

    /// Reads a name or an address as text; `nil` where it is neither.
    init?(_ text: some Sequence<UInt8>) {
        let bytes = Array(text)
        guard (1...255).contains(bytes.count) else { return nil }
        let name = String(decoding: bytes, as: UTF8.self)
        if let address = IPAddress(name) {
            self = .address(address)
            return
        }
        let isName = bytes.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
                || byte == UInt8(ascii: ".")
        }
        guard isName else { return nil }
        self = .name(name)
    }
}

/// What a client of the proxy asks for.
public struct ProxyRequest: Hashable, Sendable {
    /// What is to be done.
    public enum Action: Hashable, Sendable {
        /// Connect, and carry bytes both ways.
        case connect
        /// Connect, send these bytes first, and carry bytes both ways.
        case forward([UInt8])
        /// Carry datagrams for as long as the connection lasts.
        case associate
    }

    /// How it went.
    public enum Outcome: Hashable, Sendable {
        /// It is done.
        case done
        /// The other end refused the connection.
        case refused
        /// There is no way to the address, or the exit does not lead there.
        case unreachable
        /// The name has no address.
        case unknownName
        /// The other end did not answer in time.
        case timedOut
        /// The proxy cannot serve: no circuit, or as many connections as there may be.
        case unavailable
    }

    /// What is to be done.
    public var action: Action
    /// The host; for ``Action/associate`` where the client says it sends from.
    public var host: ProxyHost
    /// The port, as `host`.
    public var port: UInt16
    /// Whether the client speaks HTTP, and not SOCKS.
    public var isHTTP: Bool

    /// The bytes that tell the client how it went; none where a forwarded answer follows.
    ///
    /// `bound`: where datagrams are taken, or zeros.
    public func answer(_ outcome: Outcome, bound: SocketAddress? = nil) -> [UInt8] {
        guard !isHTTP else { return httpAnswer(outcome) }
        let code: UInt8 =
            switch outcome {
            case .done: 0
            case .unavailable: 1
            case .unreachable, .unknownName: 4
            case .refused: 5
            case .timedOut: 6
            }
        let address = bound ?? SocketAddress(ip: IPAddress(v4: 0), port: 0)
        return [5, code, 0] + SocksAddress.encoded(address)
    }

    private func httpAnswer(_ outcome: Outcome) -> [UInt8] {
        let status: String
        switch outcome {
        case .done:
            guard action == .connect else { return [] }
            return Array("HTTP/1.1 200 Connection established\r\n\r\n".utf8)
        case .refused: status = "502 The other end refused the connection"
        case .unreachable: status = "502 There is no way to this address"
        case .unknownName: status = "502 The name has no address"
        case .timedOut: status = "504 The other end did not answer"
        case .unavailable: status = "503 There is no circuit"
        }
        return Array("HTTP/1.1 \(status)\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8)
    }
}

/// Addresses as SOCKS writes them: a type, the address or name, a port.
enum SocksAddress {
    /// `address` in the proxy's answers and datagrams.
    static func encoded(_ address: SocketAddress) -> [UInt8] {
        let host: [UInt8]
        if let v4 = address.ip.v4 {
            host = [1] + (0..<4).map { UInt8(truncatingIfNeeded: v4 >> (24 - 8 * $0)) }
        } else {
            host = [4] + Array(address.ip.bytes)
        }
        return host + [UInt8(address.port >> 8), UInt8(truncatingIfNeeded: address.port)]
    }

    /// Reads an address from the front of `bytes`; `nil` where more bytes are needed.
    ///
    /// - Throws: ``ProxyError`` for a type or a name that is none.
    static func parse(
        _ bytes: ArraySlice<UInt8>
    ) throws(ProxyError) -> (host: ProxyHost, port: UInt16, byteCount: Int)? {
        guard let type = bytes.first else { return nil }
        let rest = bytes.dropFirst()
        let length: Int
        let prefix: Int
        switch type {
        case 1: (prefix, length) = (1, 4)
        case 4: (prefix, length) = (1, 16)
        case 3:
            guard let count = rest.first else { return nil }
            (prefix, length) = (2, Int(count))
        default: throw .unknownAddressType
        }
        let field = bytes.dropFirst(prefix)
        guard field.count >= length + 2 else { return nil }
        let text = field.prefix(length)
        let host: ProxyHost
        switch type {
        case 1: host = .address(IPAddress(v4: UInt32(truncatingIfNeeded: number(text))))
        case 4:
            host = .address(
                IPAddress(high: number(text.prefix(8)), low: number(text.dropFirst(8)))
            )
        default:
            guard let name = ProxyHost(text) else { throw .badName }
            host = name
        }
        let port = UInt16(truncatingIfNeeded: number(field.dropFirst(length).prefix(2)))
        return (host, port, prefix + length + 2)
    }

    /// Up to eight bytes as a big-endian number.
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Why a client of the proxy is not served.
public enum ProxyError: Error, Hashable, Sendable {
    /// The first byte begins neither SOCKS 5 nor HTTP.
    case unknownProtocol
    /// A message does not read as its protocol says.
    case malformed
    /// The client offers no way to authenticate that the proxy knows.
    case noMethod
    /// SOCKS commands other than CONNECT and UDP ASSOCIATE.
    case unknownCommand
    /// An address of an unknown type.
    case unknownAddressType
    /// A name with bytes no name has.
    case badName
    /// More bytes before the request is complete than any request has.
    case tooLong

    /// What to tell the client before its connection ends; empty where it would not understand.
    public var answer: [UInt8] {
        switch self {
        case .noMethod: [5, 0xff]
        case .unknownCommand: [5, 7, 0, 1, 0, 0, 0, 0, 0, 0]
        case .unknownAddressType: [5, 8, 0, 1, 0, 0, 0, 0, 0, 0]
        case .badName: [5, 4, 0, 1, 0, 0, 0, 0, 0, 0]
        case .malformed, .tooLong, .unknownProtocol: []
        }
    }
}
