import Base
import Foundation
import Logging
import Observability
import TestSupport
import Testing

@Suite("A node's metrics on its loopback")
struct MetricsServerTests {
    private struct Fixed: MetricsService {
        var why: String?

        func metrics() async -> String {
            var text = PrometheusText()
            text.add(.gauge, "umbel_links", "Links.", [.init(3)])
            return text.text
        }

        func health() async -> NodeHealth {
            NodeHealth(isStarted: true, isAlive: true, whyNotReady: why)
        }
    }

    /// Serves on a free port, and asks it what `paths` say with curl.
    private func ask(_ why: String?, _ requests: [[String]]) async throws -> [String] {
        let address = try #require(SocketAddress("127.0.0.1:0"))
        let server = MetricsServer(
            address: address,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let (ports, port) = AsyncStream.makeStream(of: UInt16.self)
        // Ends with the process, as in a node.
        Task { try await server.serve(Fixed(why: why)) { port.yield($0) } }
        var first: UInt16?
        for await found in ports {
            first = found
            break
        }
        let bound = try #require(first)
        return try await onOwnThread {
            try requests.map { try Self.answer(to: $0, at: bound) }
        }
    }

    private static func answer(to request: [String], at port: UInt16) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/curl")
        process.arguments =
            ["-s", "-w", " %{http_code}"] + request.dropFirst()
            + ["http://127.0.0.1:\(port)\(request[0])"]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    @Test("metrics, and the three questions of service managers")
    func answers() async throws {
        let well = try await ask(nil, [["/metrics"], ["/healthz"], ["/readyz"], ["/startedz"]])
        #expect(well[0].contains("umbel_links 3\n"))
        #expect(well[1...] == ["ok\n 200", "ok\n 200", "ok\n 200"])
        let unwell = try await ask("it drains", [["/readyz"], ["/healthz"], ["/other"]])
        #expect(unwell[0] == "it drains\n 503")
        #expect(unwell[1] == "ok\n 200")
        #expect(unwell[2].hasSuffix("404"))
    }

    @Test("a page that calls this machine by a name of its own learns nothing (row 80)")
    func rebinding() async throws {
        let answers = try await ask(
            nil,
            [
                ["/metrics", "-H", "Host: attacker.example"],
                ["/metrics", "-H", "Host: 127.0.0.1.attacker.example"],
                ["/metrics", "-H", "Host: localhost"], ["/metrics", "-H", "Host: 192.0.2.1:9464"],
            ]
        )
        #expect(answers[0] == " 421")
        #expect(answers[1] == " 421")
        #expect(answers[2].hasSuffix("200"))
        #expect(answers[3] == " 421")
    }
}
