import Base
import Foundation
import Logging
import Synchronization
import Testing

@testable import DirectoryHTTP

/// A service with one document, that remembers what was posted.
private final class Shelf: DirectoryService {
    static let document = [UInt8](repeating: 7, count: 100_000)
    static let digest = Bytes32([UInt8](repeating: 1, count: 32)) ?? .zero
    let posted = Mutex<[DirectoryRequest]>([])
    let hasRefused = Mutex(false)

    func answer(_ request: DirectoryRequest) async -> DirectoryAnswer {
        switch request {
        case .newest: return .bytes(Self.document, tag: Self.digest)
        case .diff(let base): return base == .zero ? .bytes([1, 2], tag: nil) : .notFound
        case .document(let prefix): return .bytes(prefix, tag: nil)
        case .proof: return .notFound
        case .post(.proof, let bytes):
            posted.withLock { $0.append(.post(.proof, bytes)) }
            // As long as it takes the test to send another one.
            while !hasRefused.withLock({ $0 }) { await Task.yield() }
            return .accepted("")
        case .post(let kind, let bytes):
            posted.withLock { $0.append(.post(kind, bytes)) }
            return kind == .descriptor ? .accepted("running") : .refused("a bad vote")
        }
    }
}

@Suite("The directory over HTTP (row 55)", .timeLimit(.minutes(2)), .serialized)
struct DirectoryHTTPTests {
    private func withServer(
        requestTime: Duration = .seconds(10),
        _ body: (Shelf, Base.SocketAddress) async throws -> Void
    ) async throws {
        let shelf = Shelf()
        var limits = DirectoryLimits(bodyByteCounts: [
            .descriptor: 2_000, .vote: 2_000, .proof: 2_000,
        ])
        limits.requestTime = requestTime
        let server = DirectoryServer(
            address: Base.SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: 0),
            limits: limits,
            logger: Logger(label: "test")
        )
        let (ports, tell) = AsyncStream.makeStream(of: UInt16.self)
        // Ends with the process: see the server.
        Task {
            try await server.serve(shelf) { port in
                tell.yield(port)
                tell.finish()
            }
        }
        var port: UInt16 = 0
        for await found in ports { port = found }
        try #require(port != 0)
        try await body(shelf, Base.SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: port))
    }

    private let client = DirectoryClient()

    @Test("documents, diffs and posts go there and back")
    func exchange() async throws {
        try await withServer { shelf, address in
            let time = Duration.seconds(10)
            let whole = try await client.send(.newest, to: address, limit: 200_000, within: time)
            #expect(whole == .bytes(Shelf.document))
            let same = try await client.send(
                .newest,
                to: address,
                known: Shelf.digest,
                limit: 200_000,
                within: time
            )
            #expect(same == .notModified)
            let base = DirectoryRequest.diff(from: .zero)
            let diff = try await client.send(base, to: address, limit: 10, within: time)
            #expect(diff == .bytes([1, 2]))
            let unknown = DirectoryRequest.diff(from: Shelf.digest)
            let none = try await client.send(unknown, to: address, limit: 10, within: time)
            #expect(none == .notFound)
            let post = DirectoryRequest.post(.descriptor, [1, 2, 3])
            let taken = try await client.send(post, to: address, limit: 100, within: time)
            #expect(taken == .bytes(Array("running".utf8)))
            await #expect(
                throws: DirectoryFetchError.refused(address, status: 403, "a bad vote")
            ) {
                try await client.send(.post(.vote, []), to: address, limit: 100, within: time)
            }
            let posted = shelf.posted.withLock { $0 }
            #expect(posted == [.post(.descriptor, [1, 2, 3]), .post(.vote, [])])
        }
    }

    @Test("an answer tells what time it is there, a refusal too")
    func time() async throws {
        try await withServer { _, address in
            let heard = Mutex<[WallTime]>([])
            let before = UInt64(Date().timeIntervalSince1970)
            for post in [DirectoryRequest.Post.descriptor, .vote] {
                _ = try? await client.send(
                    .post(post, []),
                    to: address,
                    limit: 100,
                    within: .seconds(10)
                ) { time in heard.withLock { $0.append(time) } }
            }
            let after = UInt64(Date().timeIntervalSince1970)
            let times = heard.withLock { $0.map(\.seconds) }
            #expect(times.count == 2)
            // The server looks at its clock once a second.
            #expect(times.allSatisfy { (before - 2...after + 2).contains($0) }, "\(times)")
        }
    }

    @Test(
        "a date is read as HTTP writes it",
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Tue, 29 Feb 2028 23:59:59 GMT", 1_835_481_599),
            ("Wed, 01 Mar 2028 00:00:00 GMT", 1_835_481_600),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ]
    )
    func date(text: String, seconds: UInt64) {
        #expect(HTTPDate.parse(text) == WallTime(seconds: seconds))
    }

    @Test(
        "anything else is no date",
        arguments: [
            "", "GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 -1:00:00 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
        ]
    )
    func noDate(text: String) {
        #expect(HTTPDate.parse(text) == nil)
    }

    @Test("of proofs, which may be large, one is taken at a time")
    func single() async throws {
        try await withServer { shelf, address in
            let post = { @Sendable [client] (byte: UInt8) in
                try await client.send(
                    .post(.proof, [byte]),
                    to: address,
                    limit: 100,
                    within: .seconds(10)
                )
            }
            async let first = post(1)
            while shelf.posted.withLock({ $0.isEmpty }) { await Task.yield() }
            let reason = "another one is being taken"
            await #expect(throws: DirectoryFetchError.refused(address, status: 503, reason)) {
                _ = try await post(2)
            }
            shelf.hasRefused.withLock { $0 = true }
            let accepted = try await [first, post(3)]
            #expect(accepted == [.bytes([]), .bytes([])])
            #expect(shelf.posted.withLock { $0 } == [.post(.proof, [1]), .post(.proof, [3])])
        }
    }

    @Test("an answer longer than allowed is not read")
    func tooLong() async throws {
        try await withServer { _, address in
            await #expect(throws: DirectoryFetchError.tooLong(address, limit: 99_999)) {
                try await client.send(.newest, to: address, limit: 99_999, within: .seconds(10))
            }
        }
    }

    @Test("a body that is too long, or announced so, or packed, is refused before it is taken")
    func bodies() async throws {
        try await withServer { shelf, address in
            await #expect(throws: DirectoryFetchError.refused(address, status: 413, "")) {
                try await client.send(
                    .post(.descriptor, [UInt8](repeating: 0, count: 2_001)),
                    to: address,
                    limit: 100,
                    within: .seconds(10)
                )
            }
            let head = "POST /umbel/1/descriptor HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            let claimed = try await raw(
                "\(head)Content-Length: 1073741824\r\n\r\nabc",
                to: address
            )
            #expect(claimed.hasPrefix("HTTP/1.1 413"))
            let packed = try await raw(
                "\(head)Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
                to: address
            )
            #expect(packed.hasPrefix("HTTP/1.1 415"))
            #expect(shelf.posted.withLock { $0.isEmpty })
        }
    }

    @Test("who sends a body drop by drop is let go, and others are served meanwhile")
    func slow() async throws {
        try await withServer(requestTime: .seconds(1)) { _, address in
            let head = "POST /umbel/1/descriptor HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na"
            let begin = ContinuousClock.now
            async let answer = raw(head, to: address)
            let time = Duration.seconds(10)
            let other = try await client.send(.newest, to: address, limit: 200_000, within: time)
            #expect(other == .bytes(Shelf.document))
            let text = try await answer
            #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 408"))
            #expect(ContinuousClock.now - begin < .seconds(30))
        }
    }

    @Test("a server that answers packed is not believed")
    func packedAnswer() async throws {
        try await withFixed(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
        ) { address in
            await #expect(throws: DirectoryFetchError.encoded(address, "gzip")) {
                try await client.send(.newest, to: address, limit: 100, within: .seconds(10))
            }
        }
    }

    @Test("a server that claims a gigabyte, or says nothing, costs neither memory nor time")
    func badServers() async throws {
        try await withFixed("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n") { address in
            await #expect(throws: DirectoryFetchError.tooLong(address, limit: 100)) {
                try await client.send(.newest, to: address, limit: 100, within: .seconds(10))
            }
        }
        try await withFixed("") { address in
            await #expect(throws: DirectoryFetchError.timeout(address)) {
                try await client.send(.newest, to: address, limit: 100, within: .milliseconds(300))
            }
        }
        let nobody = Base.SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: 1)
        await #expect(throws: DirectoryFetchError.self) {
            try await client.send(.newest, to: nobody, limit: 100, within: .seconds(10))
        }
    }

    // MARK: Sockets

    /// What a server answers to `text`, until it closes.
    private func raw(_ text: String, to address: Base.SocketAddress) async throws -> String {
        try await Task.detached {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            var target = Self.native(address.port)
            let connected = withUnsafePointer(to: &target) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(connected == 0)
            var limit = timeval(tv_sec: 30, tv_usec: 0)
            setsockopt(
                descriptor,
                SOL_SOCKET,
                SO_RCVTIMEO,
                &limit,
                socklen_t(MemoryLayout<timeval>.size)
            )
            _ = Array(text.utf8).withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            var answer: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4_096)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                guard count > 0 else { break }
                answer += buffer[..<count]
            }
            return String(decoding: answer, as: UTF8.self)
        }.value
    }

    /// Runs `body` with a server that answers everybody with `text` and says no more.
    private func withFixed(
        _ text: String,
        _ body: (Base.SocketAddress) async throws -> Void
    ) async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.native(0)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(bound == 0 && listen(listener, 8) == 0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(listener, $0, &size)
            }
        }
        let serving = Task.detached {
            let peer = accept(listener, nil, nil)
            guard peer >= 0 else { return }
            var buffer = [UInt8](repeating: 0, count: 4_096)
            // An answer before the question would be none.
            _ = recv(peer, &buffer, buffer.count, 0)
            _ = Array(text.utf8).withUnsafeBytes {
                send(peer, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            while recv(peer, &buffer, buffer.count, 0) > 0 {}
            close(peer)
        }
        let port = UInt16(bigEndian: address.sin_port)
        try await body(Base.SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: port))
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        await serving.value
    }

    private static func native(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}
