import ControlAPI
import Foundation
import Logging
import Testing

@Suite("Requests over a real socket", .timeLimit(.minutes(1)))
struct RoundTripTests {
    @Test("Every call of a client's service arrives, and its answer comes back")
    func client() async throws {
        let service = FixedClient()
        try await TestSocket().serving(service) { client in
            let answer1 = try await client.node()
            #expect(answer1.role == .client)
            let answer2 = try await client.status()
            #expect(answer2 == FixedClient.report)
            let answer3 = try await client.circuits()
            #expect(answer3 == FixedClient.circuits)
            let ping = try await client.ping(PingRequest(hop: 2, count: 3))
            #expect(ping.hops.first?.average == 3)
            #expect(ping.hops.last?.minimum == nil)
            let answer4 = try await client.up(UpRequest(exit: ["DE", "NL"]))
            #expect(answer4 == FixedClient.report)
            let answer5 = try await client.down()
            #expect(answer5.state == .disconnected)
            let exits = try await client.measureExits(
                ExitSurveyRequest(countries: ["DE"], count: 3)
            )
            #expect(exits == FixedClient.list)
            let grant = try await client.openTunnel(TunnelRequest(pid: 42, exit: ["DE"]))
            #expect(grant == FixedClient.grant)
            try await client.closeTunnel(grant.id)
        }
        #expect(
            service.calls == [
                "status", "circuits", "ping 2 3", "up DE,NL", "down",
                "measure DE 3",
                "openTunnel 42 DE for \(getpid()) \(geteuid())", "closeTunnel 7",
            ]
        )
    }

    @Test("A relay's status comes back")
    func relay() async throws {
        let socket = try TestSocket()
        let server = ControlServer(
            path: socket.path,
            group: nil,
            node: NodeReport(role: .relay, version: "0.1", pid: 1),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        try await socket.serving({ try await server.serve(FixedRelay(), onReady: $0) }) { client in
            let answer6 = try await client.node()
            #expect(answer6.role == .relay)
            let answer7 = try await client.relayStatus()
            #expect(answer7 == FixedRelay.report)
            let drained = try await client.drain(DrainRequest(isDraining: true, seconds: 3))
            #expect(drained.line?.state == .draining)
            #expect(drained.line?.bytesWaiting == 3)
            let tooLong = await #expect(throws: Failure.self) {
                try await client.drain(DrainRequest(isDraining: true, seconds: 3_601))
            }
            #expect(tooLong?.exitCode == ExitStatus.usage.rawValue)
            let rotated = try await client.rotateKeys()
            #expect(rotated.expiryMinute == 99)
            let failure = await #expect(throws: Failure.self) { try await client.circuits() }
            #expect(failure?.exitCode == ExitStatus.usage.rawValue)
        }
    }

    @Test("A change that takes the node longer than an answer may take is waited for (row 72)")
    func slowChange() async throws {
        let service = FixedClient(changeTime: ControlClient.timeout * 3 / 2)
        try await TestSocket().serving(service) { client in
            async let up = client.up(UpRequest())
            async let down = client.down()
            let states = try await [up.state, down.state]
            #expect(states == [.connected, .disconnected])
        }
        #expect(service.calls.sorted() == ["down", "up -"])
    }

    @Test("What a service refuses arrives as it was said")
    func refusal() async throws {
        try await TestSocket().serving(FixedClient()) { client in
            let failure = await #expect(throws: Failure.self) {
                try await client.up(UpRequest(exit: ["XX"]))
            }
            #expect(
                failure
                    == Failure(
                        "no exit in XX",
                        why: "the consensus lists none there",
                        hint: "leave --exit away",
                        exit: .temporary
                    )
            )
        }
    }

    @Test(
        "Pings without bound are refused before the service sees them",
        arguments: [0, -1, 1_001]
    )
    func pingBound(count: Int) async throws {
        let service = FixedClient()
        try await TestSocket().serving(service) { client in
            let failure = await #expect(throws: Failure.self) {
                try await client.ping(PingRequest(count: count))
            }
            #expect(failure?.exitCode == ExitStatus.usage.rawValue)
        }
        #expect(service.calls.isEmpty)
    }

    @Test("The stream gives the state at once and after each change, and ends with the daemon's")
    func stream() async throws {
        let service = FixedClient()
        try await TestSocket().serving(service) { client in
            var states: [TunnelState] = []
            try await client.watchStatus { report in
                states.append(report.state)
                switch states.count {
                case 1: service.send(FixedClient.report)
                case 2: service.send(StatusReport(state: .blocked, since: 3))
                default: service.endStreams()
                }
                return true
            }
            #expect(states == [.connecting, .connected, .blocked])
        }
    }

    @Test("A reader that goes away ends its stream at the daemon")
    func abandonedStream() async throws {
        let service = FixedClient()
        try await TestSocket().serving(service) { client in
            try await client.watchStatus { _ in false }
            while !service.calls.contains("stream ended") {
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    @Test("A server that is stopped ends its open streams, and removes its socket")
    func stopWithStream() async throws {
        let socket = try TestSocket()
        let (seen, sawFirst) = AsyncStream.makeStream(of: Void.self)
        try await socket.serving(FixedClient()) { client in
            Task {
                defer { sawFirst.finish() }
                try await client.watchStatus { _ in
                    sawFirst.finish()
                    return true
                }
            }
            for await _ in seen {}
        }
        #expect(!FileManager.default.fileExists(atPath: socket.path))
    }
}
