import CFamilyFilter
import EventLoop
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// Machines without IPv6: switched off by a setting, or not in the kernel at all.
    @Suite("Machines without IPv6", .lab())
    struct Families {
        private let lab: Lab
        private static let page = "http://203.0.113.10/"

        init() throws {
            lab = try Lab.shared()
        }

        /// Connects the stranger's machine, loads a page, and disconnects.
        private func useTunnel(
            at socket: String,
            load: () async throws -> Void
        ) async throws {
            let up = try await lab.outcome(
                "stranger",
                [Lab.umbel, "up", "--wait", "--socket", socket],
                seconds: 60
            )
            #expect(up.status == 0, "\(up.message)")
            try await load()
            let check = try await lab.outcome(
                "stranger",
                [Lab.umbel, "netcheck", "--socket", socket]
            )
            #expect(check.status == 0)
            #expect(check.output.contains("IPv6  no way out"), "\(check.output)")
            let down = try await lab.outcome("stranger", [Lab.umbel, "down", "--socket", socket])
            #expect(down.status == 0, "\(down.message)")
        }

        @Test("where a setting has it off, a client connects over IPv4, and leaves no trace (R5)")
        func switchedOff() async throws {
            let settings = ["all", "default"].map { "net.ipv6.conf.\($0).disable_ipv6" }
            for setting in settings { try await lab.run("stranger", "sysctl -qw \(setting)=1") }
            try await lab.withDaemon([]) { socket in
                try await useTunnel(at: socket) {
                    try await lab.run(
                        "stranger",
                        "curl -sS --max-time 30 -o /dev/null \(Self.page)"
                    )
                }
            }
            for setting in settings { try await lab.run("stranger", "sysctl -qw \(setting)=0") }
            for line in [
                "ip address replace 2001:db8:d::9/48 dev eth0 nodad",
                "ip -6 route replace default via 2001:db8:d::1 dev eth0",
            ] {
                try await lab.run("stranger", line)
            }
        }

        /// Starts a program on the stranger's host as on a kernel without IPv6: sockets of that family
        /// are refused, to it and to what it starts.
        private func startWithoutFamily(_ command: [String]) async throws -> BackgroundProgram {
            let lab = lab
            return try await withCheckedThrowingContinuation { started in
                do {
                    _ = try LoopThread.start(name: "filter") {
                        // For this thread and its children alone.
                        let result = family_refuse(AF_INET6)
                        started.resume(
                            with: Result {
                                try #require(result == 0, "no filter: errno \(-result)")
                                return try BackgroundProgram(lab, host: "stranger", command)
                            }
                        )
                    }
                } catch {
                    started.resume(throwing: error)
                }
            }
        }

        @Test("where the kernel has none, a client connects over IPv4, and `umbel run` works (R5)")
        func absent() async throws {
            let probe = try await startWithoutFamily(
                ["socat", "-u", "OPEN:/dev/null", "TCP6:[2001:db8:f::10]:80"]
            )
            #expect(try await probe.status() != 0)
            #expect(probe.output.contains("Address family not supported"), "\(probe.output)")
            // Nor has such a kernel any settings of it.
            let hidden = "mount -t tmpfs none /proc/sys/net/ipv6 && exec \"$@\""
            try await lab.withDaemon(
                ["unshare", "-m", "sh", "-c", hidden, "-"],
                start: startWithoutFamily
            ) { socket in
                try await useTunnel(at: socket) {
                    let curl = ["curl", "-sS", "--max-time", "30", Self.page]
                    for prefix in [[], [Lab.umbel, "run", "--socket", socket, "--"]] {
                        let load = try await startWithoutFamily(prefix + curl)
                        #expect(try await load.status() == 0, "\(load.output)")
                        #expect(load.output.hasPrefix("198.19."), "\(load.output)")
                    }
                }
            }
        }
    }
}
