import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

extension EndToEnd {
    /// Modes of traffic: `--mode`.
    @Suite("Modes", .lab())
    struct Modes {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func start(_ mode: String, _ more: [String] = []) throws -> BackgroundProgram {
            let script = "curl -sS --max-time 50 http://www.umbel.test/ && sleep 600"
            return try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "run", "--mode", mode] + more
                    + ["--socket", lab.socket("client"), "--", "sh", "-c", script]
            )
        }

        @Test("fast, padded and mix run side by side on one client, and show what they cost")
        func sideBySide() async throws {
            try await lab.connect()
            let programs = try [
                start("padded"), start("mix", ["--slot", "20"]), start("mix", ["--slot", "10"]),
            ]
            for program in programs {
                try await eventually("the web answers: \(program.output)\n\(lab.log("client"))") {
                    program.output.contains("asked for www.umbel.test")
                }
                #expect(program.output.contains("cells/s each way"), "\(program.output)")
            }
            let web = try await lab.run("client", "curl -sS --max-time 50 http://www.umbel.test/")
            #expect(web.contains("asked for www.umbel.test"))

            var shown: [TrafficReport] = []
            try await eventually("four circuits of three modes: \(shown)") {
                shown = try await lab.circuits().filter { $0.state == .active }
                    .compactMap(\.traffic)
                let kept = shown.filter { ($0.cellsPerSecond ?? 0) > 0 && $0.coverCells ?? 0 > 0 }
                return kept.count == 3 && shown.contains { $0.mode == .fast }
            }
            #expect(Set(shown.map(\.mode)) == [.fast, .padded, .mix])
            #expect(Set(shown.compactMap(\.slotMilliseconds)) == [20, 10])
            let tunnels = try await lab.status().tunnels
            #expect(Set(tunnels.compactMap(\.traffic?.mode)) == [.fast, .padded, .mix])
            let mixed = try #require(
                try await lab.circuits().first {
                    $0.state == .active && $0.traffic?.slotMilliseconds == 10
                }
            )
            let text = try await lab.umbel("circuits", "show", "\(mixed.id)").output
            #expect(text.contains("mix, slots of 10 ms"), "\(text)")
            #expect(text.contains("1.1 Mbit/s"), "\(text)")

            // Cover goes on though nothing is sent, and relays make it too.
            let guardRelay = try #require(mixed.hops.first).nickname
            let before = try #require(mixed.traffic?.coverCells)
            let carried = try await lab.relay(guardRelay).cellsForward
            try await eventually("cover goes on") {
                let now = try await lab.circuits().first { $0.id == mixed.id }
                let cells = try await lab.relay(guardRelay).cellsForward
                return now?.traffic?.coverCells ?? 0 > before + 100 && cells > carried + 50
            }
            for program in programs { program.send(SIGTERM) }
            try await lab.disconnect()
        }

        @Test("a slot there is not, or one without slots, is refused")
        func refused() async throws {
            for arguments in [["--mode", "mix", "--slot", "7"], ["--slot", "10"]] {
                let outcome = try await lab.outcome(
                    "client",
                    [Lab.umbel, "up"] + arguments + ["--socket", lab.socket("client")]
                )
                #expect(outcome.status == 64, "\(arguments): \(outcome.message)")
            }
        }
    }
}
