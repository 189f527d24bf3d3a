import ControlAPI
import Foundation
import Logging
import Testing

@Suite("What keeps traffic where it belongs, over a real socket", .timeLimit(.minutes(1)))
struct ProtectionTests {
    private func serving(
        _ service: FixedProtection,
        _ body: (ControlClient) async throws -> Void
    ) async throws {
        let socket = try TestSocket()
        let server = ControlServer(
            path: socket.path,
            group: nil,
            node: NodeReport(role: .client, version: "0.1", pid: 1),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        try await socket.serving(
            {
                try await server.serve(
                    FixedClient(),
                    wallet: NoWallet(),
                    protection: service,
                    circuits: FixedCircuits(),
                    onReady: $0
                )
            },
            body
        )
    }

    @Test("Every call arrives, and its answer comes back")
    func calls() async throws {
        let service = FixedProtection()
        try await serving(service) { client in
            #expect(try await client.reconnect() == FixedClient.report)
            #expect(try await client.setLockdown(LockdownRequest(isOn: true)).schema == 1)
            #expect(try await client.login(LoginRequest(user: 7, seconds: 300)).schema == 1)
            #expect(try await client.checkNetwork() == FixedProtection.network)
            for follows in [false, true] {
                var events: [EventReport] = []
                try await client.readEvents(follows: follows) {
                    events.append($0)
                    return true
                }
                #expect(events == FixedProtection.events)
            }
        }
        #expect(
            service.calls == [
                "reconnect", "lockdown true", "login 7 300 for \(geteuid())", "netcheck", "events",
                "eventUpdates",
            ]
        )
    }

    @Test("Windows without bound are refused before the service sees them", arguments: [-1, 301])
    func windowBound(seconds: Int) async throws {
        let service = FixedProtection()
        try await serving(service) { client in
            let failure = await #expect(throws: Failure.self) {
                try await client.login(LoginRequest(user: 0, seconds: seconds))
            }
            #expect(failure?.exitCode == ExitStatus.usage.rawValue)
        }
        #expect(service.calls.isEmpty)
    }

    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test("The JSON of schema 1 never changes")
    func schema() throws {
        #expect(
            try json(FixedProtection.events[0]) == """
                {"level":"notice","number":1,"schema":1,"text":"event 1","time_ms":1790000000123}
                """
        )
        let first = String(repeating: "01", count: 32)
        let second = String(repeating: "ab", count: 32)
        #expect(
            try json(FixedProtection.network) == """
                {"guards":[{"address":"192.0.2.11:4433","id":"\(first)","mtu":1500,\
                "nickname":"iris","rtt_ms":12.5,"whole":true},{"address":"[2001:db8::1]:4433",\
                "id":"\(second)","nickname":"rose"}],"ipv4":true,"ipv6":false,\
                "mappings":[{"kind":"varies","local":"10.0.0.7:40000",\
                "seen":["192.0.2.1:1024","192.0.2.1:1025"]}],"mtu":1500,\
                "nat":"translated","schema":1,"udp":true}
                """
        )
        #expect(try json(LockdownRequest(isOn: true)) == #"{"on":true}"#)
        #expect(try json(LoginRequest(user: 7, seconds: 300)) == #"{"seconds":300,"user":7}"#)
        var report = StatusReport(
            state: .connecting,
            progress: .init(
                percent: 45,
                stage: "conn",
                detail: "opening",
                elapsed: 2_000,
                unchanged: 1_000
            ),
            since: 1
        )
        report.lockdown = true
        report.loginUntil = 9
        report.health = [.init(about: "clock", problem: "it is wrong", fix: "set it")]
        #expect(
            try json(report) == """
                {"bytes_received":0,"bytes_sent":0,"health":[{"about":"clock","fix":"set it",\
                "problem":"it is wrong"}],"lockdown":true,"login_until":9,\
                "progress":{"detail":"opening","elapsed_ms":2000,"percent":45,"stage":"conn",\
                "unchanged_ms":1000},"schema":1,"since":1,"state":"connecting","tunnels":[]}
                """
        )
    }
}
