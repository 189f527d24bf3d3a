import ControlAPI
import Foundation
import Testing

@Suite("The control socket", .timeLimit(.minutes(1)))
struct SocketTests {
    @Test("Owner and group may use the socket, and nobody else")
    func mode() async throws {
        let socket = try TestSocket()
        try await socket.serving(FixedClient(), group: "daemon") { _ in
            let attributes = try FileManager.default.attributesOfItem(atPath: socket.path)
            #expect(attributes[.posixPermissions] as? Int == 0o660)
            #expect(attributes[.groupOwnerAccountName] as? String == "daemon")
        }
    }

    @Test("A group that does not exist is a configuration error")
    func unknownGroup() async throws {
        let socket = try TestSocket()
        let failure = await #expect(throws: Failure.self) {
            try await socket.server(group: "no-such-group").serve(FixedClient())
        }
        #expect(failure?.exitCode == ExitStatus.configuration.rawValue)
    }

    @Test("A second server refuses to start, and the first goes on (row 73)")
    func secondServer() async throws {
        let socket = try TestSocket()
        try await socket.serving(FixedClient()) { client in
            let failure = await #expect(throws: Failure.self) {
                try await socket.server().serve(FixedClient())
            }
            #expect(failure?.exitCode == ExitStatus.unavailable.rawValue)
            #expect(failure?.what == "cannot serve at \(socket.path)")
            let answer1 = try await client.status()
            #expect(answer1 == FixedClient.report)
        }
    }

    @Test("A server refuses a socket somebody answers without a lock")
    func foreignServer() async throws {
        let socket = try TestSocket()
        let listener = try Listener(path: socket.path)
        let failure = await #expect(throws: Failure.self) {
            try await socket.server().serve(FixedClient())
        }
        #expect(failure?.why == "a node answers there")
        listener.close()
    }

    @Test("A socket nobody answers any more is replaced")
    func staleSocket() async throws {
        let socket = try TestSocket()
        try Listener(path: socket.path).close()
        #expect(FileManager.default.fileExists(atPath: socket.path))
        try await socket.serving(FixedClient()) { client in
            let answer2 = try await client.status()
            #expect(answer2 == FixedClient.report)
        }
    }

    @Test("A file that is no socket is left alone")
    func foreignFile() async throws {
        let socket = try TestSocket()
        try "precious".write(toFile: socket.path, atomically: false, encoding: .utf8)
        let failure = await #expect(throws: Failure.self) {
            try await socket.server().serve(FixedClient())
        }
        #expect(failure?.why == "something that is not a socket lies there")
        #expect(try String(contentsOfFile: socket.path, encoding: .utf8) == "precious")
    }

    @Test("Where no node runs, the client says so at once and how to start one")
    func absent() async throws {
        let socket = try TestSocket()
        let clock = ContinuousClock()
        let begin = clock.now
        let failure = await #expect(throws: Failure.self) { try await socket.client.status() }
        // That it did not wait for the time allowed shows in the reason; this machine may be busy.
        #expect(clock.now - begin < .seconds(20))
        #expect(
            failure
                == Failure(
                    "no node at \(socket.path)",
                    why: "nobody answers at its socket",
                    hint: "start it with `umbel daemon --config F`",
                    exit: .unavailable
                )
        )
    }

    @Test("A stale socket is no node either")
    func refused() async throws {
        let socket = try TestSocket()
        try Listener(path: socket.path).close()
        let failure = await #expect(throws: Failure.self) { try await socket.client.status() }
        #expect(failure?.why == "nobody answers at its socket")
    }

    /// Something a node is asked for.
    enum Question: CaseIterable {
        case status, circuits, up, down, tunnel

        func ask(_ client: ControlClient) async throws {
            switch self {
            case .status: _ = try await client.status()
            case .circuits: _ = try await client.circuits()
            case .up: _ = try await client.up(UpRequest())
            case .down: _ = try await client.down()
            case .tunnel: _ = try await client.openTunnel(TunnelRequest(pid: 1))
            }
        }
    }

    @Test(
        "A node that hangs is given up after two seconds, whatever it is asked for (row 72)",
        arguments: Question.allCases
    )
    func hung(question: Question) async throws {
        let socket = try TestSocket()
        let listener = try Listener(path: socket.path)
        let clock = ContinuousClock()
        let begin = clock.now
        let failure = await #expect(throws: Failure.self) { try await question.ask(socket.client) }
        let waited = clock.now - begin
        // Far from the time a change may take, however busy this machine is.
        #expect(waited >= .seconds(2) && waited < .seconds(20))
        #expect(failure?.exitCode == ExitStatus.unavailable.rawValue)
        #expect(failure?.why == "it did not answer within the time allowed")
        let watch = await #expect(throws: Failure.self) {
            try await socket.client.watchStatus { _ in true }
        }
        #expect(watch?.exitCode == ExitStatus.unavailable.rawValue)
        listener.close()
    }

    @Test("A node that stops in the middle of an answer is given up too")
    func hungWithinAnswer() async throws {
        let socket = try TestSocket()
        let listener = try Listener(path: socket.path)
        listener.answer("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{", thenClose: false)
        let failure = await #expect(throws: Failure.self) { try await socket.client.status() }
        #expect(failure?.why == "it did not answer within the time allowed")
        listener.close()
    }

    @Test(
        "A node that speaks otherwise is not understood (row 72)",
        arguments: [
            (#"{"schema":2,"state":"asleep"}"#, "it speaks schema 2, not 1"),
            (#"{"schema":1}"#, "its answer is not the report that was asked for"),
            ("hello", "its answer is not a report"),
        ]
    )
    func otherVersion(body: String, why: String) async throws {
        let socket = try TestSocket()
        let listener = try Listener(path: socket.path)
        listener.answer(
            "HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        let failure = await #expect(throws: Failure.self) { try await socket.client.status() }
        #expect(failure?.why == why)
        #expect(failure?.exitCode == ExitStatus.unavailable.rawValue)
        listener.close()
    }
}
