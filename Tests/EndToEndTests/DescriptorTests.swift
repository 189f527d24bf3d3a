import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

extension EndToEnd {
    /// A daemon that may open few files.
    ///
    /// Test matrix row 85.
    @Suite("Few descriptors", .lab())
    struct Descriptors {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func openCount(_ pid: Int32) throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
        }

        @Test("at its limit it refuses tunnels and says why, and afterwards serves on (row 85)")
        func limit() async throws {
            try await lab.connect()
            let pid = try lab.pid("client")
            let before = try openCount(pid)
            try await CommandRunner().run([
                "prlimit", "--pid", "\(pid)", "--nofile=\(before + 56):\(before + 56)",
            ])
            let socket = lab.socket("client")
            var runs: [BackgroundProgram] = []
            var refused: BackgroundProgram?
            while refused == nil {
                try #require(runs.count < 40, "no limit was met")
                let run = try BackgroundProgram(
                    lab,
                    host: "client",
                    [Lab.umbel, "run", "--socket", socket, "--", "sleep", "600"]
                )
                try await eventually("it has a tunnel, or has said why not: \(run.output)") {
                    guard run.isRunning else { return true }
                    return try await lab.status().tunnels.count == runs.count + 2
                }
                if run.isRunning { runs.append(run) } else { refused = run }
            }
            #expect(!runs.isEmpty, "\(before) were open")
            let output = try #require(refused?.output)
            #expect(output.contains("LimitNOFILE"), "\(output)")
            #expect(output.split(separator: "\n").count == 3, "\(output)")
            // It is still there, connected, and has not given anything up.
            #expect(try lab.pid("client") == pid)
            #expect(try await lab.state() == .connected)
            #expect(try await lab.status().tunnels.count == runs.count + 1)
            // What keeps the machine locked has descriptors left.
            let rules = try await lab.run("client", "nft list table inet umbel_lock")
            try await lab.run("client", "nft flush chain inet umbel_lock leave")
            try await eventually("the lock is put back") {
                try await lab.run("client", "nft list table inet umbel_lock") == rules
            }
            #expect(try await lab.state() == .connected)

            for run in runs { run.send(SIGTERM) }
            for run in runs { #expect(try await run.status() == 128 + 15) }
            try await eventually("nothing is kept open") {
                try await lab.status().tunnels.count == 1 && openCount(pid) <= before + 2
            }
            let again = try await lab.outcome(
                "client",
                [Lab.umbel, "run", "--socket", socket, "--", "true"],
                seconds: 60
            )
            #expect(again.status == 0, "\(again.message)")
            try await lab.kill("client", "TERM")
            try await lab.start("client")
        }
    }
}
