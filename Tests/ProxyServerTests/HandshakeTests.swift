import Base
import TestSupport
import Testing

@testable import ProxyServer

@Suite("What is said before a proxy carries bytes")
struct HandshakeTests {
    /// Puts `bytes` in, and takes steps until more are needed or a request is there.
    private func talk(
        _ bytes: [UInt8],
        with handshake: inout ProxyHandshake
    ) throws -> (answers: [UInt8], request: ProxyRequest?) {
        handshake.receive(bytes)
        var answers: [UInt8] = []
        while true {
            switch try handshake.next() {
            case .more: return (answers, nil)
            case .answer(let bytes): answers += bytes
            case .request(let request): return (answers, request)
            }
        }
    }

    private func text(_ text: String) -> [UInt8] { Array(text.utf8) }

    private let hello: [UInt8] = [5, 1, 0]
    private let connect: [UInt8] = [5, 1, 0, 3, 4] + Array("a.de".utf8) + [1, 187]

    @Test("SOCKS 5 without credentials: a name is left for the tunnel to resolve")
    func name() throws {
        var handshake = ProxyHandshake()
        let talk = try talk(hello + connect + [9, 9], with: &handshake)
        #expect(talk.answers == [5, 0])
        #expect(
            talk.request
                == ProxyRequest(action: .connect, host: .name("a.de"), port: 443, isHTTP: false)
        )
        #expect(handshake.credentials == nil)
        #expect(Array(handshake.remainder) == [9, 9])
    }

    @Test("SOCKS 5 with credentials, which are asked for where they are offered")
    func credentials() throws {
        var handshake = ProxyHandshake()
        let first = try talk([5, 2, 0, 2], with: &handshake)
        #expect(first.answers == [5, 2])
        let second = try talk(
            [1, 3, 1, 2, 3, 2, 7, 8] + [5, 3, 0, 1, 0, 0, 0, 0, 0, 0],
            with: &handshake
        )
        #expect(second.answers == [1, 0])
        #expect(handshake.credentials == ProxyCredentials(user: [1, 2, 3], password: [7, 8]))
        #expect(second.request?.action == .associate)
        #expect(second.request?.host == .address(IPAddress(v4: 0)))
    }

    @Test("An IPv6 address, and an address that is written as a name")
    func addresses() throws {
        let six = try #require(IPAddress("2001:db8::7"))
        var handshake = ProxyHandshake()
        let talkSix = try talk(hello + [5, 1, 0, 4] + six.bytes + [0, 80], with: &handshake)
        #expect(talkSix.request?.host == .address(six))
        handshake = ProxyHandshake()
        let written = [5, 1, 0, 3, 9] + text("192.0.2.1") + [0, 80]
        #expect(
            try talk(hello + written, with: &handshake).request?.host
                == .address(IPAddress(v4: 0xc000_0201))
        )
    }

    @Test(
        "Bytes that are no request are refused, with the answer that says why",
        arguments: [
            ([4, 1], ProxyError.unknownProtocol), ([5, 1, 1], .noMethod),
            ([5, 1, 2, 2], .malformed), ([5, 1, 0, 5, 2, 0, 1], .unknownCommand),
            ([5, 1, 0, 5, 1, 0, 2], .unknownAddressType),
            ([5, 1, 0, 5, 1, 0, 3, 1, 0, 0, 80], .badName),
            ([5, 1, 0, 5, 1, 0, 3, 0, 0, 80], .badName), ([5, 1, 0, 4], .malformed),
        ] as [([UInt8], ProxyError)]
    )
    func refused(bytes: [UInt8], error: ProxyError) {
        var handshake = ProxyHandshake()
        let thrown = #expect(throws: ProxyError.self) { try talk(bytes, with: &handshake) }
        #expect(thrown == error)
    }

    @Test("Names with bytes no name has, such as a line break, are refused")
    func badNames() {
        for name in ["a b", "a\r\nb", "a\0", "ä.de", "a/b", "user@host"] {
            let bytes = Array(name.utf8)
            var handshake = ProxyHandshake()
            #expect(throws: ProxyError.badName) {
                try talk(
                    hello + [5, 1, 0, 3, UInt8(bytes.count)] + bytes + [0, 80],
                    with: &handshake
                )
            }
        }
    }

    @Test("HTTP CONNECT, with credentials, and bytes behind it")
    func httpConnect() throws {
        var handshake = ProxyHandshake()
        let head = "CONNECT www.umbel.test:443 HTTP/1.1\r\nproxy-authorization: Basic YTpi\r\n\r\nX"
        let talk = try talk(text(head), with: &handshake)
        #expect(
            talk.request
                == ProxyRequest(
                    action: .connect,
                    host: .name("www.umbel.test"),
                    port: 443,
                    isHTTP: true
                )
        )
        #expect(handshake.credentials?.user == text("Basic YTpi"))
        #expect(Array(handshake.remainder) == text("X"))
        #expect(talk.request?.answer(.done).starts(with: text("HTTP/1.1 200 ")) == true)
    }

    @Test("A plain request goes on as the server wants it, without what is for the proxy")
    func httpForward() throws {
        var handshake = ProxyHandshake()
        let head = """
            GET http://www.umbel.test:8080?q HTTP/1.1\r
            Host: www.umbel.test:8080\r
            Proxy-Authorization: Basic YTpi\r
            Connection: keep-alive\r
            Accept: */*\r
            \r

            """
        let request = try talk(text(head), with: &handshake).request
        let sent = """
            GET /?q HTTP/1.1\r
            Host: www.umbel.test:8080\r
            Accept: */*\r
            Connection: close\r
            \r

            """
        #expect(request?.action == .forward(text(sent)))
        #expect(request?.port == 8080)
        #expect(request?.answer(.done) == [])
    }

    @Test(
        "HTTP that names no other server, or hides something, is refused",
        arguments: [
            "GET / HTTP/1.1\r\n\r\n", "CONNECT a.de HTTP/1.1\r\n\r\n",
            "CONNECT a.de:0 HTTP/1.1\r\n\r\n", "CONNECT a.de:65536 HTTP/1.1\r\n\r\n",
            "CONNECT [a.de]:1 HTTP/1.1\r\n\r\n", "CONNECT [::1:1 HTTP/1.1\r\n\r\n",
            "CONNECT a.de:443 HTTP/2.0\r\n\r\n", "GET http://u@a.de/ HTTP/1.1\r\n\r\n",
            "GET http://a.de/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "GET ftp://a.de/ HTTP/1.1\r\n\r\n",
            "GET http://a.de/ b HTTP/1.1\r\n\r\n", "GET http://a.de/ HTTP/1.1\r\nA\r\n\r\n",
        ]
    )
    func badHTTP(head: String) {
        var handshake = ProxyHandshake()
        #expect(throws: ProxyError.malformed) { try talk(text(head), with: &handshake) }
    }

    @Test("A request that does not end is given up")
    func endless() {
        var handshake = ProxyHandshake()
        let head = text("GET http://a.de/ HTTP/1.1\r\n")
        #expect(throws: ProxyError.tooLong) {
            _ = try talk(head, with: &handshake)
            for _ in 0..<200 {
                _ = try talk(text(String(repeating: "a", count: 99)), with: &handshake)
            }
        }
    }

    @Test("The answer to SOCKS says how it went, and where datagrams are taken")
    func answers() throws {
        let request = ProxyRequest(action: .associate, host: .name("a"), port: 1, isHTTP: false)
        let bound = try #require(SocketAddress("127.0.0.1:1080"))
        #expect(request.answer(.done, bound: bound) == [5, 0, 0, 1, 127, 0, 0, 1, 4, 56])
        #expect(request.answer(.refused).prefix(2) == [5, 5])
        #expect(request.answer(.unknownName).prefix(2) == [5, 4])
        #expect(request.answer(.timedOut).prefix(2) == [5, 6])
        #expect(request.answer(.unavailable).prefix(2) == [5, 1])
    }

    @Test("Datagrams are read and written alike, fragments and cut ones refused")
    func datagrams() throws {
        let source = try #require(SocketAddress("[2001:db8::1]:53"))
        let bytes = SocksDatagram.encoded([1, 2, 3], from: source)
        let datagram = try SocksDatagram(parsing: bytes)
        #expect(datagram.host == .address(source.ip))
        #expect(datagram.port == 53)
        #expect(Array(datagram.payload) == [1, 2, 3])
        for count in 0..<22 {
            #expect(throws: ProxyError.self) {
                try SocksDatagram(parsing: Array(bytes.prefix(count)))
            }
        }
        var fragment = bytes
        fragment[2] = 1
        #expect(throws: ProxyError.malformed) { try SocksDatagram(parsing: fragment) }
    }
}
