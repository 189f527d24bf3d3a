import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// Every state of the daemon, and what can happen to it there: nothing gets out.
    ///
    /// Test matrix rows 33 to 37. The oracle has heard the canary over IPv4, IPv6 and to ports of
    /// names before it says that there is nothing to hear.
    @Suite("A walk through the daemon's states", .lab())
    struct StateWalk {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// Where a daemon can stand while traffic must be blocked.
        enum Situation: CaseIterable, CustomTestStringConvertible {
            case connecting, connected, cutOff, leftBehind, lockedDown

            var testDescription: String {
                switch self {
                case .connecting: "connecting"
                case .connected: "connected"
                case .cutOff: "blocked, for no relay answers any more"
                case .leftBehind: "blocked, for an earlier daemon was"
                case .lockedDown: "blocked, for lockdown is on"
                }
            }

            /// The state the daemon says it is in.
            var state: TunnelState {
                switch self {
                case .connecting: .connecting
                case .connected: .connected
                case .cutOff, .leftBehind, .lockedDown: .blocked
                }
            }
        }

        /// What happens to it there.
        enum Blow: CaseIterable {
            case killed, ended, flushed
        }

        private func startDaemon() async throws -> BackgroundProgram {
            let daemon = try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "daemon", "--config", "\(lab.folder("client"))/client.toml"]
            )
            try await eventually("the daemon is ready: \(daemon.output)") {
                daemon.output.contains("ready on")
            }
            return daemon
        }

        private func order(_ words: String...) async throws {
            let outcome = try await lab.outcome(
                "client",
                [Lab.umbel] + words + ["--socket", lab.socket("client")]
            )
            try #require(outcome.status == 0, "\(words): \(outcome.message)")
        }

        /// Brings the daemon from nowhere to `situation`; the daemon that then runs.
        private func enter(
            _ situation: Situation,
            _ daemon: BackgroundProgram
        ) async throws -> BackgroundProgram {
            switch situation {
            case .connecting:
                try await order("up")
            case .connected, .cutOff:
                try await order("up", "--wait")
            case .leftBehind:
                try await order("up", "--wait")
                daemon.send(SIGKILL)
                #expect(try await daemon.status() == 128 + 9)
                return try await startDaemon()
            case .lockedDown:
                try await order("lockdown", "on")
            }
            return daemon
        }

        /// Waits until the daemon says that it is where it is to be.
        private func expectState(_ state: TunnelState) async throws {
            try await eventually("the daemon is \(state)") { try await lab.state() == state }
        }

        /// Does what `blow` says; the daemon that runs afterwards.
        private func strike(
            _ blow: Blow,
            _ daemon: BackgroundProgram,
            _ situation: Situation,
            _ oracle: LeakOracle
        ) async throws -> BackgroundProgram {
            let what = "\(situation.testDescription), \(blow)"
            switch blow {
            case .killed, .ended:
                daemon.send(blow == .killed ? SIGKILL : SIGTERM)
                _ = try await daemon.status()
                try await oracle.expectSilence("\(what): nobody runs")
                let next = try await startDaemon()
                try await oracle.expectSilence("\(what): it was started again")
                try await expectState(.blocked)
                let reason = try #require(try await lab.status().reason)
                #expect(reason.contains(situation == .lockedDown ? "lockdown" : "umbel down"))
                return next
            case .flushed:
                let rules = try await lab.run("client", "nft list table inet umbel_lock")
                try await lab.run("client", "nft flush ruleset")
                let outage = try await eventually("the lock is back") {
                    let now = try await lab.outcome(
                        "client",
                        ["nft", "list", "table", "inet", "umbel_lock"]
                    )
                    return now.output == rules
                }
                print("row 37: \(situation.testDescription): the lock was back after \(outage)")
                oracle.wiretap.clear()
                try await oracle.expectSilence("\(what): the lock is back")
                try await expectState(situation.state)
                return daemon
            }
        }

        @Test("rows 33, 34, 36, 37: killed, ended or robbed of its rules anywhere, it is silent")
        func walk() async throws {
            let oracle = try await LeakOracle(lab)
            try await lab.kill("client", "TERM")
            var daemon = try await startDaemon()
            for situation in Situation.allCases {
                for blow in Blow.allCases {
                    let visit = {
                        if situation == .cutOff { oracle.wiretap.clear() }
                        try await expectState(situation.state)
                        try await oracle.expectSilence("\(situation.testDescription)")
                        daemon = try await strike(blow, daemon, situation, oracle)
                    }
                    if situation == .connecting {
                        try await lab.cutOff {
                            daemon = try await enter(situation, daemon)
                            oracle.wiretap.clear()
                            try await visit()
                            try await order("lockdown", "off")
                            try await order("down")
                        }
                    } else {
                        daemon = try await enter(situation, daemon)
                        oracle.wiretap.clear()
                        if situation == .cutOff {
                            try await lab.cutOff(visit)
                        } else {
                            try await visit()
                        }
                        try await order("lockdown", "off")
                        try await order("down")
                    }
                    try await expectState(.disconnected)
                    try await oracle.expectSong("after \(situation.testDescription), \(blow)")
                }
            }
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
            try await lab.start("client")
        }

        @Test("row 36: those who watch see each of the five states, and nothing gets out between")
        func transitions() async throws {
            let oracle = try await LeakOracle(lab)
            let watch = try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "status", "--watch", "--json", "--socket", lab.socket("client")]
            )
            try await eventually("the watch has begun") { watch.output.contains("\n") }
            var seen: Set<TunnelState> = []
            var rounds = 0
            // What lasts for some milliseconds only may be passed over once by a busy machine.
            while seen != Set(TunnelState.allCases) {
                rounds += 1
                try #require(rounds <= 10, "seen were \(seen)")
                try await order("lockdown", "on")
                oracle.wiretap.clear()
                try await order("up", "--wait")
                try await oracle.expectSilence("while connected")
                try await order("reconnect", "--wait")
                try await oracle.expectSilence("reconnected")
                try await order("down")
                #expect(try await lab.state() == .blocked)
                #expect(try await lab.status().lockdown == true)
                try await oracle.expectSilence("after down with lockdown on")
                try await order("up", "--wait")
                try await oracle.expectSilence("connected again")
                try await order("lockdown", "off")
                #expect(try await lab.state() == .connected)
                try await oracle.expectSilence("lockdown off while connected")
                try await order("down")
                try await expectState(.disconnected)
                try await oracle.expectSong("after down")
                for line in watch.output.split(separator: "\n") {
                    // The last line may not be complete yet.
                    let data = Data(line.utf8)
                    guard let report = try? JSONDecoder().decode(StatusReport.self, from: data)
                    else { continue }
                    #expect(report.schema == 1)
                    seen.insert(report.state)
                }
            }
            watch.send(SIGINT)
            _ = try await watch.status()
            try await lab.connect()
        }

        @Test("row 35: with lockdown on, a machine that starts is locked before it has a network")
        func reboot() async throws {
            let oracle = try await LeakOracle(lab)
            try await order("lockdown", "on")
            try await lab.kill("client")
            // What is left of a machine that was switched off: its disk.
            for line in [
                "nft flush ruleset", "ip link set eth0 down", "ip -4 rule flush",
                "ip -6 rule flush",
                "ip -4 rule add lookup main priority 32766",
                "ip -6 rule add lookup main priority 32766",
            ] {
                try await lab.run("client", line)
            }
            _ = try await lab.outcome("client", ["ip", "link", "delete", "umbel0"])
            let config = "\(lab.folder("client"))/client.toml"
            let network = [
                "ip link set eth0 up", "ip address replace 198.51.100.10/24 dev eth0",
                "ip address replace 2001:db8:c::10/48 dev eth0 nodad",
                "ip route replace default via 198.51.100.1 dev eth0",
                "ip -6 route replace default via 2001:db8:c::1 dev eth0",
            ]
            // Without the unit the canary would be heard.
            for line in network { try await lab.run("client", line) }
            try await oracle.expectSong("at a start without the unit")
            try await lab.run("client", "ip link set eth0 down")

            let apply = [Lab.umbel, "lockdown", "apply", "--config", config]
            let applied = try await lab.outcome("client", apply)
            #expect(applied.status == 0, "\(applied.message)")
            oracle.wiretap.clear()
            for line in network { try await lab.run("client", line) }
            try await oracle.expectSilence("before the daemon")

            let daemon = try await startDaemon()
            try await expectState(.blocked)
            #expect(try await lab.status().reason?.contains("lockdown") == true)
            try await oracle.expectSilence("with the daemon")
            try await order("up", "--wait")
            try await lab.expectAnswer(from: "203.0.113.10")
            try await oracle.expectSilence("connected")
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
            try await oracle.expectSilence("at the end of the machine")
            try await lab.start("client")
            try await order("lockdown", "off")
            try await order("down")
            try await oracle.expectSong("after lockdown off and down")
            let off = try await lab.outcome("client", apply)
            #expect(off.status == 0)
            try await oracle.expectSong("where lockdown is off")
            try await lab.connect()
        }

        @Test("a login window lets the user's web through, says so, and closes at its end")
        func login() async throws {
            let oracle = try await LeakOracle(lab)
            let curl = [
                "curl", "-sS", "--max-time", "3", "-o", "/dev/null", "http://203.0.113.10/",
            ]
            let unlocked = try await lab.umbel("login")
            #expect(unlocked.status == 1)
            #expect(unlocked.message.contains("not blocked"))
            try await order("lockdown", "on")
            #expect(try await lab.outcome("client", curl).status != 0)
            let opened = try await lab.umbel("login")
            #expect(opened.status == 0, "\(opened.message)")
            #expect(opened.output.contains("5 MINUTES"))
            #expect(try await lab.outcome("client", curl).status == 0)
            let health = try #require(try await lab.status().health)
            #expect(health.contains { $0.about == "login" })
            // A daemon that dies takes nothing with it: the kernel's clock goes on.
            try await lab.kill("client")
            let set = try await lab.run("client", "nft list set inet umbel_login users")
            #expect(set.contains("expires"))
            try await lab.start("client")
            let closed = try await lab.umbel("login", "--end")
            #expect(closed.status == 0, "\(closed.message)")
            try await order("down")
            #expect(try await lab.outcome("client", curl).status != 0)
            oracle.wiretap.clear()
            try await oracle.expectSilence("after the window")
            try await order("lockdown", "off")
            try await lab.connect()
        }
    }
}
