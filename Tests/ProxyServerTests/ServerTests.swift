import Base
import Foundation
import HostNetwork
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import ProxyServer

/// The network the tests are in, where every name is this machine's loopback.
private struct OwnNetwork: ProxyNetwork {
    let eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()

    func addresses(of name: String) async -> [IPAddress] {
        name == "nowhere.test" ? [] : [IPAddress(v4: 0x7f00_0001)]
    }
}

/// A blocking socket of a test, closed with the value.
private final class TestSocket: Sendable {
    let descriptor: Int32

    init(_ type: __socket_type) {
        descriptor = socket(AF_INET, Int32(type.rawValue), 0)
        var limit = timeval(tv_sec: 50, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    }

    init(owning descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// The port it is bound to.
    var port: UInt16 {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = getsockname(descriptor, $0, &size)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    private func withLoopback<T>(_ port: UInt16, _ body: (UnsafePointer<sockaddr>) -> T) -> T {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
        }
    }

    /// Binds it to a free port, and listens where it can.
    func bind() throws {
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try #require(withLoopback(0) { Foundation.bind(descriptor, $0, size) } == 0)
        listen(descriptor, 8)
    }

    func connect(to port: UInt16) throws {
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try #require(withLoopback(port) { Foundation.connect(descriptor, $0, size) } == 0)
    }

    func write(_ bytes: [UInt8]) async throws {
        let sent = await onOwnThread { [descriptor] in
            send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
        try #require(sent == bytes.count)
    }

    /// Up to `count` bytes, fewer where the other end has closed or sends datagrams.
    func read(_ count: Int, isWhole: Bool = true) async -> [UInt8] {
        await onOwnThread { [descriptor] in
            var bytes = [UInt8](repeating: 0, count: count)
            let got = recv(descriptor, &bytes, count, isWhole ? Int32(MSG_WAITALL) : 0)
            return Array(bytes.prefix(max(got, 0)))
        }
    }

    func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    func accept() async -> TestSocket {
        TestSocket(
            owning: await onOwnThread { [descriptor] in Foundation.accept(descriptor, nil, nil) }
        )
    }
}

@Suite("A proxy on this machine's loopback", .timeLimit(.minutes(4)))
struct ServerTests {
    private let hello: [UInt8] = [5, 1, 0]
    private static let limit = 20

    /// Runs `body` with the port of a proxy.
    private func withProxy(_ body: (UInt16) async throws -> Void) async throws {
        let listener = try LoopbackSocket.make(.stream, isV6: false, port: freePort())
        let relay = try LoopbackSocket.make(.datagram, isV6: false, port: 0)
        let port = TestSocket(owning: dup(listener)).port
        let server = ProxyServer(relays: [relay], connectionLimit: Self.limit) { credentials in
            credentials?.user == Array("none".utf8) ? nil : OwnNetwork()
        }
        let serving = Task { try await server.serve(listeners: [listener]) }
        do {
            try await body(port)
        } catch {
            serving.cancel()
            throw error
        }
        serving.cancel()
        _ = await serving.result
    }

    private func freePort() throws -> UInt16 {
        let socket = TestSocket(SOCK_STREAM)
        try socket.bind()
        return socket.port
    }

    private func target(_ port: UInt16, _ name: String) -> [UInt8] {
        [3, UInt8(name.utf8.count)] + Array(name.utf8)
            + [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)]
    }

    @Test("Bytes go both ways until both ends have said all")
    func connect() async throws {
        let server = TestSocket(SOCK_STREAM)
        try server.bind()
        try await withProxy { port in
            let client = TestSocket(SOCK_STREAM)
            try client.connect(to: port)
            try await client.write(hello + [5, 1, 0] + target(server.port, "here.test") + [1, 2])
            #expect(await client.read(2) == [5, 0])
            #expect(await client.read(10).prefix(2) == [5, 0])
            let other = await server.accept()
            #expect(await other.read(2) == [1, 2])
            let large = [UInt8](repeating: 7, count: 100_000)
            try await client.write(large)
            client.endOutput()
            #expect(await other.read(200_000) == large)
            // The client has said all; the server has not.
            try await other.write([9])
            #expect(await client.read(1) == [9])
            other.endOutput()
            #expect(await client.read(1) == [])
        }
    }

    @Test("What cannot be done is said")
    func refusals() async throws {
        try await withProxy { port in
            let closed = try freePort()
            for (name, code) in [("here.test", 5), ("nowhere.test", 4)] {
                let client = TestSocket(SOCK_STREAM)
                try client.connect(to: port)
                try await client.write(hello + [5, 1, 0] + target(closed, name))
                #expect(await client.read(2) == [5, 0])
                #expect(await client.read(10).dropFirst().first == UInt8(code))
                #expect(await client.read(1) == [])
            }
            let nobody = TestSocket(SOCK_STREAM)
            try nobody.connect(to: port)
            try await nobody.write(
                [5, 1, 2, 1, 4] + Array("none".utf8) + [0, 5, 1, 0] + target(closed, "a")
            )
            #expect(await nobody.read(4) == [5, 2, 1, 0])
            #expect(await nobody.read(10).dropFirst().first == 1)
            for bytes in [[4, 1], Array("GET / HTTP/1.1\r\n\r\n".utf8)] {
                let client = TestSocket(SOCK_STREAM)
                try client.connect(to: port)
                try await client.write(bytes)
                #expect(await client.read(1) == [])
            }
        }
    }

    @Test("Connections beyond the limit are closed, and one that ends makes room")
    func limit() async throws {
        try await withProxy { port in
            var clients: [TestSocket] = []
            for _ in 0..<Self.limit {
                let client = TestSocket(SOCK_STREAM)
                try client.connect(to: port)
                try await client.write(hello)
                #expect(await client.read(2) == [5, 0])
                clients.append(client)
            }
            let refused = TestSocket(SOCK_STREAM)
            try refused.connect(to: port)
            #expect(await refused.read(1) == [])
            clients.removeLast()
            var answer: [UInt8] = []
            // The proxy hears of the end some time after.
            for _ in 0..<1_000 where answer.isEmpty {
                let next = TestSocket(SOCK_STREAM)
                try next.connect(to: port)
                _ = try? await next.write(hello)
                answer = await next.read(2)
            }
            #expect(answer == [5, 0])
        }
    }

    @Test("Datagrams go both ways, and as many clients send them as there are sockets for")
    func datagrams() async throws {
        let server = TestSocket(SOCK_DGRAM)
        try server.bind()
        try await withProxy { port in
            for _ in 0..<2 {
                let client = TestSocket(SOCK_STREAM)
                try client.connect(to: port)
                try await client.write(hello + [5, 3, 0, 1, 0, 0, 0, 0, 0, 0])
                #expect(await client.read(2) == [5, 0])
                let bound = await client.read(10)
                try #require(Array(bound.prefix(8)) == [5, 0, 0, 1, 127, 0, 0, 1])
                let second = TestSocket(SOCK_STREAM)
                try second.connect(to: port)
                try await second.write(hello + [5, 3, 0, 1, 0, 0, 0, 0, 0, 0])
                #expect(await second.read(2) == [5, 0])
                #expect(await second.read(10).dropFirst().first == 1)

                let datagrams = TestSocket(SOCK_DGRAM)
                try datagrams.connect(to: UInt16(bound[8]) << 8 | UInt16(bound[9]))
                try await datagrams.write(
                    [0, 0, 0] + target(server.port, "here.test") + [1, 2, 3]
                )
                #expect(await server.read(100, isWhole: false) == [1, 2, 3])
                client.endOutput()
                #expect(await client.read(1) == [])
            }
        }
    }
}
