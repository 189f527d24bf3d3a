/// What is said on a connection to the proxy before bytes are carried: SOCKS 5 or HTTP.
///
/// Without input and output of its own: put bytes in by ``receive(_:)``, then take steps until one
/// says that more are needed. Spec: RFC 1928 and 1929, RFC 9110 §9.3.6 and RFC 9112 §3.2.
public struct ProxyHandshake: Sendable {
    /// Bytes a handshake has at most.
    public static let byteLimit = 16_384

    /// What comes next.
    public enum Step: Hashable, Sendable {
        /// More bytes of the client are needed.
        case more
        /// These bytes go to the client.
        case answer([UInt8])
        /// The client wants this; bytes behind it are in ``remainder``.
        case request(ProxyRequest)
    }

    private enum Stage {
        case opening, password, request, done
    }

    /// Who the client says it is; `nil` where it says nothing.
    public private(set) var credentials: ProxyCredentials?
    /// Bytes received and not used.
    public private(set) var remainder: ArraySlice<UInt8> = []
    private var stage = Stage.opening
    private var byteCount = 0

    /// Begins a handshake.
    public init() {}

    /// Takes bytes of the client.
    public mutating func receive(_ bytes: some Collection<UInt8>) {
        remainder += bytes
        byteCount += bytes.count
    }

    /// Takes the next step.
    ///
    /// - Throws: ``ProxyError``; the connection is then to be closed.
    public mutating func next() throws(ProxyError) -> Step {
        let step = try advance()
        if step == .more, byteCount > Self.byteLimit { throw .tooLong }
        return step
    }

    private mutating func advance() throws(ProxyError) -> Step {
        guard let first = remainder.first else { return .more }
        switch stage {
        case .opening:
            if first == 5 { return try greeting() }
            guard (0x41...0x5a).contains(first) else { throw .unknownProtocol }
            return try http()
        case .password: return try password()
        case .request: return try socksRequest()
        case .done: return .more
        }
    }

    private mutating func greeting() throws(ProxyError) -> Step {
        guard let count = byte(1), remainder.count >= 2 + Int(count) else { return .more }
        let methods = remainder.dropFirst(2).prefix(Int(count))
        remainder = remainder.dropFirst(2 + Int(count))
        // A client that can name itself is asked to: the name keeps its circuits apart.
        if methods.contains(2) {
            stage = .password
            return .answer([5, 2])
        }
        guard methods.contains(0) else { throw .noMethod }
        stage = .request
        return .answer([5, 0])
    }

    private mutating func password() throws(ProxyError) -> Step {
        guard byte(0) == 1 else { throw .malformed }
        guard let userCount = byte(1).map(Int.init), let count = byte(2 + userCount).map(Int.init),
            remainder.count >= 3 + userCount + count
        else { return .more }
        credentials = ProxyCredentials(
            user: Array(remainder.dropFirst(2).prefix(userCount)),
            password: Array(remainder.dropFirst(3 + userCount).prefix(count))
        )
        remainder = remainder.dropFirst(3 + userCount + count)
        stage = .request
        return .answer([1, 0])
    }

    private mutating func socksRequest() throws(ProxyError) -> Step {
        guard byte(0) == 5 else { throw .malformed }
        guard let command = byte(1), byte(2) != nil else { return .more }
        guard command == 1 || command == 3 else { throw .unknownCommand }
        guard let target = try SocksAddress.parse(remainder.dropFirst(3)) else { return .more }
        remainder = remainder.dropFirst(3 + target.byteCount)
        stage = .done
        return .request(
            ProxyRequest(
                action: command == 1 ? .connect : .associate,
                host: target.host,
                port: target.port,
                isHTTP: false
            )
        )
    }

    /// The byte at `offset` of what is not used yet.
    private func byte(_ offset: Int) -> UInt8? {
        remainder.dropFirst(offset).first
    }

    // MARK: HTTP

    private static let lineEnd: [UInt8] = [13, 10]

    private mutating func http() throws(ProxyError) -> Step {
        guard let head = headByteCount() else { return .more }
        guard head <= Self.byteLimit else { throw .tooLong }
        var lines = remainder.prefix(head).split(
            separator: 10,
            omittingEmptySubsequences: false
        ).map { $0.last == 13 ? $0.dropLast() : $0 }
        lines.removeAll { $0.isEmpty }
        remainder = remainder.dropFirst(head)
        guard let line = lines.first else { throw .malformed }
        let words = line.split(separator: 32, omittingEmptySubsequences: false)
        guard words.count == 3, words[2].starts(with: "HTTP/1.".utf8), words[2].count == 8 else {
            throw .malformed
        }
        let headers = lines.dropFirst()
        // A line that goes on in the next is long forbidden, and could hide what is to be left out.
        guard headers.allSatisfy({ $0.first != 32 && $0.first != 9 && $0.contains(58) }) else {
            throw .malformed
        }
        credentials = Self.value(of: "proxy-authorization", in: headers).map {
            ProxyCredentials(user: Array($0), password: [])
        }
        stage = .done
        if words[0].elementsEqual("CONNECT".utf8) {
            let target = try Self.authority(words[1], defaultPort: nil)
            return .request(
                ProxyRequest(
                    action: .connect,
                    host: target.host,
                    port: target.port,
                    isHTTP: true
                )
            )
        }
        return .request(try Self.forward(words, headers))
    }

    /// Bytes up to the end of the empty line that ends the head; `nil` while it has not come.
    private func headByteCount() -> Int? {
        var lineByteCount = 0
        for (offset, byte) in remainder.enumerated() {
            if byte == 10 {
                if lineByteCount == 0 { return offset + 1 }
                lineByteCount = 0
            } else if byte != 13 {
                lineByteCount += 1
            }
        }
        return nil
    }

    /// A request for a whole `http` address, as it goes to the server itself.
    private static func forward(
        _ words: [ArraySlice<UInt8>],
        _ headers: ArraySlice<ArraySlice<UInt8>>
    ) throws(ProxyError) -> ProxyRequest {
        let scheme = Array("http://".utf8)
        guard words[1].prefix(scheme.count).map({ $0 | 0x20 }) == scheme.map({ $0 | 0x20 }) else {
            throw .malformed
        }
        let rest = words[1].dropFirst(scheme.count)
        let path = rest.drop { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
        let target = try authority(rest.prefix(rest.count - path.count), defaultPort: 80)
        var head = Array(words[0]) + [32]
        if path.first != UInt8(ascii: "/") { head.append(UInt8(ascii: "/")) }
        head += Array(path) + Array(" HTTP/1.1\r\n".utf8)
        for header in headers where !isForProxy(header) { head += Array(header) + lineEnd }
        // One request for each connection: the next one may be for another host.
        head += Array("Connection: close\r\n\r\n".utf8)
        return ProxyRequest(
            action: .forward(head),
            host: target.host,
            port: target.port,
            isHTTP: true
        )
    }

    private static func isForProxy(_ header: ArraySlice<UInt8>) -> Bool {
        let name = header.prefix { $0 != 58 }.map { $0 | 0x20 }
        return name.starts(with: "proxy-".utf8) || name.elementsEqual("connection".utf8)
            || name.elementsEqual("keep-alive".utf8)
    }

    /// What stands behind the first header of this name, in small letters.
    private static func value(
        of name: String,
        in headers: ArraySlice<ArraySlice<UInt8>>
    ) -> ArraySlice<UInt8>? {
        let header = headers.first { header in
            header.prefix { $0 != 58 }.map { $0 | 0x20 }.elementsEqual(name.utf8)
        }
        return header?.drop { $0 != 58 }.dropFirst().drop { $0 == 32 || $0 == 9 }
    }

    /// Reads `host:port` or `[address]:port`.
    private static func authority(
        _ text: ArraySlice<UInt8>,
        defaultPort: UInt16?
    ) throws(ProxyError) -> (host: ProxyHost, port: UInt16) {
        let isBracketed = text.first == UInt8(ascii: "[")
        let name =
            isBracketed
            ? text.dropFirst().prefix { $0 != UInt8(ascii: "]") } : text.prefix { $0 != 58 }
        var rest = text.dropFirst(name.count + (isBracketed ? 1 : 0))
        if isBracketed {
            guard rest.first == UInt8(ascii: "]") else { throw .malformed }
            rest = rest.dropFirst()
        }
        guard let host = ProxyHost(name) else { throw .malformed }
        if isBracketed, case .name = host { throw .malformed }
        if rest.isEmpty, let defaultPort { return (host, defaultPort) }
        let digits = rest.dropFirst()
        guard rest.first == 58, (1...5).contains(digits.count),
            digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(String(decoding: digits, as: UTF8.self)), port > 0
        else { throw .malformed }
        return (host, port)
    }
}
