import Base
import ControlAPI
import Foundation
import HostNetwork
import NamespaceSupport
import Testing

@testable import umbel_lab

extension EndToEnd {
    /// What is missing or taken when a node starts, and what it leaves when it ends.
    ///
    /// Test matrix rows 71, 72, 73, 75.
    @Suite("Starts and ends", .lab())
    struct Starts {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func relay(_ file: String, on host: String) async throws -> CommandRunner.Outcome {
            try await lab.outcome(host, [Lab.umbel, "relay", "--config", file])
        }

        @Test("rows 71 and 73: a port that is taken is named, and who has it is left alone")
        func portTaken() async throws {
            let rules = try await lab.run("e1", "nft list ruleset")
            #expect(rules.contains("umbel_exit_e1"))
            for host in ["r1", "e1"] {
                let second = try await lab.configuration(like: host)
                expectRefusal(
                    try await relay(second.file, on: host),
                    status: 69,
                    "4433",
                    "address already in use",
                    "ss -ulpn"
                )
                #expect(try await lab.relay(host).nickname == host)
            }
            #expect(try await lab.run("e1", "nft list ruleset") == rules)
        }

        @Test("row 73: a second exit does not take the first one's pool away")
        func poolTaken() async throws {
            let routes = try await lab.run("e1", "ip route show table all")
            let second = try await lab.configuration(
                like: "e1",
                [
                    (":4433", ":4434"), ("\"e1\"", "\"x1\""),
                    ("enabled = true", "enabled = true\ninterface = \"other\""),
                ]
            )
            expectRefusal(try await relay(second.file, on: "e1"), status: 69, "100.64.0.0/16")
            #expect(try await lab.run("e1", "ip route show table all") == routes)
            #expect(try await !lab.run("e1", "nft list tables").contains("umbel_exit_x1"))
        }

        @Test("row 73: a second node at a socket is refused, and the first one serves on")
        func secondNode() async throws {
            let daemon = try await lab.outcome(
                "client",
                [Lab.umbel, "daemon", "--config", "\(lab.folder("client"))/client.toml"]
            )
            expectRefusal(daemon, status: 69, "cannot serve at \(lab.socket("client"))")
            #expect(try await lab.state() == .connected)
            let other = try await lab.configuration(like: "r1", [(":4433", ":4434")])
            let text = try String(contentsOfFile: other.file, encoding: .utf8)
            try Data(
                text.replacing("\(other.folder)/control", with: "\(lab.folder("r1"))/control").utf8
            )
            .write(to: URL(fileURLWithPath: other.file))
            expectRefusal(
                try await relay(other.file, on: "r1"),
                status: 69,
                "cannot serve at \(lab.socket("r1"))"
            )
            #expect(try await lab.relay("r1").nickname == "r1")
        }

        @Test("row 71: without /dev/net/tun an exit and a client say so, and change nothing")
        func noTun() async throws {
            let hidden = [
                "unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "-",
            ]
            let exit = try await lab.configuration(
                like: "e1",
                [(":4433", ":4434"), ("\"e1\"", "\"x1\"")]
            )
            expectRefusal(
                try await lab.outcome("e1", hidden + [Lab.umbel, "relay", "--config", exit.file]),
                status: 69,
                "/dev/net/tun",
                "modprobe tun"
            )
            #expect(try await !lab.run("e1", "nft list tables").contains("umbel_exit_x1"))
            try await lab.withDaemon(hidden) { socket in
                let up = try await lab.outcome("stranger", [Lab.umbel, "up", "--socket", socket])
                expectRefusal(up, status: 69, "/dev/net/tun", "modprobe tun")
            }
        }

        @Test("row 71: without nft a client does not connect, and an exit does not start")
        func noFirewall() async throws {
            let path = try CommandRunner.locate("nft")
            let hidden = [
                "unshare", "-m", "sh", "-c", "mount --bind /dev/null \(path) && exec \"$@\"", "-",
            ]
            let exit = try await lab.configuration(
                like: "e1",
                [(":4433", ":4434"), ("enabled = true", "enabled = true\ninterface = \"other\"")]
            )
            let routes = try await lab.run("e1", "ip route show table all")
            let refused = try await lab.outcome(
                "e1",
                hidden + [Lab.umbel, "relay", "--config", exit.file]
            )
            expectRefusal(refused, status: 69, "nft", "nftables")
            #expect(try await lab.run("e1", "ip route show table all") == routes)
            try await lab.withDaemon(hidden) { socket in
                let up = try await lab.outcome("stranger", [Lab.umbel, "up", "--socket", socket])
                expectRefusal(up, status: 1, "nft", "nftables")
            }
        }

        /// What runs a command on a machine with that configuration in its usual place, and a log of
        /// its own.
        private func machine(of client: (folder: String, file: String)) -> [String] {
            let script = """
                set -e
                mount -t tmpfs none /var/log
                mkdir \(client.folder)/layers
                mount -t tmpfs none \(client.folder)/layers
                cd \(client.folder)/layers
                mkdir upper work
                mount -t overlay overlay -o lowerdir=/etc,upperdir=upper,workdir=work /etc
                mkdir -p /etc/umbel
                cp \(client.file) /etc/umbel/client.toml
                exec "$@"
                """
            return ["unshare", "-m", "sh", "-c", script, "-"]
        }

        /// Ends the daemon at `socket`, which nobody waits for.
        private func endDaemon(_ socket: String) async throws {
            let daemon = try await ControlClient(path: socket, start: "").node()
            kill(daemon.pid, SIGTERM)
            try await eventually("it ends") { !FileManager.default.fileExists(atPath: socket) }
        }

        @Test("root's run and proxy start a daemon where none runs (row 72)")
        func runStartsDaemon() async throws {
            let first = try await lab.configuration(like: "client")
            let socket = "\(first.folder)/control.sock"
            let curl = ["curl", "-sS", "--max-time", "30"]
            let run = try await lab.outcome(
                "stranger",
                machine(of: first) + [Lab.umbel, "run", "--socket", socket, "--exit", "DE", "--"]
                    + curl + ["http://203.0.113.10/"],
                seconds: 60
            )
            #expect(run.status == 0, "\(run.message)")
            #expect(run.message.contains("no daemon runs: starting one"))
            #expect(run.output.hasPrefix("198.19.7.10 "), "\(run.output)")
            try await endDaemon(socket)

            let second = try await lab.configuration(like: "client")
            let other = "\(second.folder)/control.sock"
            let proxy = try BackgroundProgram(
                lab,
                host: "stranger",
                machine(of: second) + [Lab.umbel, "proxy", "--socket", other, "--exit", "DE"]
            )
            try await eventually("the proxy is ready: \(proxy.output)") {
                proxy.output.contains("proxy ready") || !proxy.isRunning
            }
            try #require(proxy.isRunning, "\(proxy.output)")
            #expect(proxy.output.contains("no daemon runs: starting one"))
            let page = try await lab.outcome(
                "stranger",
                curl + ["--socks5", "127.0.0.1:1080", "http://203.0.113.10/"],
                seconds: 60
            )
            #expect(page.output.hasPrefix("198.19.7.10 "), "\(page.message)")
            // The daemon has not inherited the proxy's port.
            proxy.send(SIGTERM)
            #expect(try await proxy.status() == 0)
            let listeners = try await lab.run("stranger", "ss -Hltn")
            #expect(!listeners.contains(":1080"), "\(listeners)")
            try await endDaemon(other)
        }

        @Test("row 77: who is not of the socket's group is refused, and what to do is said")
        func stranger() async throws {
            let socket = lab.socket("client")
            let before = try await lab.status().tunnels.count
            let at = ["--socket", socket]
            for command in [
                ["status"] + at, ["up"] + at, ["down"] + at, ["reconnect"] + at,
                ["lockdown", "off"] + at, ["circuits"] + at, ["logs"] + at,
                ["run"] + at + ["--", "true"], ["proxy", "--port", "1099"] + at,
            ] {
                let outcome = try await lab.outcome("client", Lab.asNobody + [Lab.umbel] + command)
                expectRefusal(outcome, status: 77, socket)
            }
            #expect(try await lab.state() == .connected)
            #expect(try await lab.status().tunnels.count == before)
        }

        @Test("row 77: of the group, one has tunnels for one's own processes alone")
        func foreignProcess() async throws {
            let client = try await lab.configuration(like: "client")
            let text = try String(contentsOfFile: client.file, encoding: .utf8)
            try Data((text + "group = \"nogroup\"\n").utf8)
                .write(to: URL(fileURLWithPath: client.file))
            let daemon = try BackgroundProgram(
                lab,
                host: "stranger",
                [Lab.umbel, "daemon", "--config", client.file]
            )
            try await eventually("the daemon is ready: \(daemon.output)") {
                daemon.output.contains("ready on")
            }
            // A process of root's in a network of its own, which somebody else would like to lead.
            let victim = try BackgroundProgram(
                lab,
                host: "stranger",
                ["unshare", "-n", "sleep", "60"]
            )
            let outcome = try await lab.outcome(
                "stranger",
                Lab.asNobody + [
                    "curl", "-sS", "--unix-socket", "\(client.folder)/control.sock",
                    "-H", "content-type: application/json", "-w", " %{http_code}",
                    "-d", "{\"pid\":\(victim.pid)}", "http://localhost/v1/tunnels",
                ]
            )
            #expect(outcome.output.hasSuffix(" 403"), "\(outcome)")
            victim.send(SIGKILL)
            _ = try await victim.status()
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
        }

        @Test("root's up starts a daemon where none runs, which goes on when up has ended (row 72)")
        func upStartsDaemon() async throws {
            let client = try await lab.configuration(like: "client")
            let socket = "\(client.folder)/control.sock"
            let up = try await lab.outcome(
                "stranger",
                machine(of: client) + [Lab.umbel, "up", "--wait", "--socket", socket],
                seconds: 60
            )
            #expect(up.status == 0, "\(up.message)")
            #expect(up.message.contains("no daemon runs: starting one"))
            #expect(up.output.hasPrefix("connected through "))
            let again = try await lab.outcome("stranger", [Lab.umbel, "up", "--socket", socket])
            #expect(again.status == 0 && !again.message.contains("starting"))
            let down = try await lab.outcome("stranger", [Lab.umbel, "down", "--socket", socket])
            #expect(down.status == 0, "\(down.message)")
            try await endDaemon(socket)
        }

        @Test("on a full disk a client says so, and locks nothing it could not unlock")
        func fullDisk() async throws {
            let client = try await lab.configuration(like: "client")
            let before = try await lab.picture("stranger")
            let full = """
                mount -t tmpfs -o size=16k none \(client.folder)/state
                dd if=/dev/zero of=\(client.folder)/state/fill bs=1k 2>/dev/null
                exec "$@"
                """
            let start = [Lab.umbel, "daemon", "--config", client.file]
            let daemon = try BackgroundProgram(
                lab,
                host: "stranger",
                ["unshare", "-m", "sh", "-c", full, "-"] + start
            )
            try await eventually("the daemon is ready, or has said why not") {
                daemon.output.contains("ready on") || !daemon.isRunning
            }
            if daemon.isRunning {
                let up = try await lab.outcome(
                    "stranger",
                    [Lab.umbel, "up", "--socket", "\(client.folder)/control.sock"]
                )
                expectRefusal(up, status: 1, "\(client.folder)/state")
                daemon.send(SIGTERM)
                #expect(try await daemon.status() == 0)
            } else {
                #expect(daemon.output.contains("\(client.folder)/state"))
                #expect(daemon.output.contains("hint: "))
                #expect([1, 69, 78].contains(try await daemon.status()))
            }
            #expect(try await lab.picture("stranger") == before)
        }

        @Test("row 71: a user without rights is told which one is missing")
        func notRoot() async throws {
            let nobody = Lab.asNobody(tunIsOpen: false)
            let owner = "nobody:nogroup"
            let client = try await lab.configuration(like: "client", owner: owner)
            expectRefusal(
                try await lab.outcome(
                    "stranger",
                    nobody + [Lab.umbel, "daemon", "--config", client.file]
                ),
                status: 77,
                "CAP_NET_ADMIN"
            )
            let exit = try await lab.configuration(like: "e1", [(":4433", ":4434")], owner: owner)
            expectRefusal(
                try await lab.outcome("e1", nobody + [Lab.umbel, "relay", "--config", exit.file]),
                status: 77,
                "/dev/net/tun"
            )
            let refused = try await lab.configuration(
                like: "r1",
                [(":4433", ":4434"), ("socket = ", "socket = \"/run/r1.sock\" # ")],
                owner: owner
            )
            expectRefusal(
                try await lab.outcome(
                    "r1",
                    Lab.asNobody + [Lab.umbel, "relay", "--config", refused.file]
                ),
                status: 77,
                "cannot serve at /run/r1.sock"
            )
            // A relay that is no exit needs no rights at all.
            let plain = try await lab.configuration(like: "r1", [(":4433", ":4434")], owner: owner)
            let relay = try BackgroundProgram(
                lab,
                host: "r1",
                Lab.asNobody + [Lab.umbel, "relay", "--config", plain.file]
            )
            try await eventually("it is ready: \(relay.output)") {
                relay.output.contains("ready on")
            }
            relay.send(SIGTERM)
            #expect(try await relay.status() == 0)
        }

        @Test(
            "row 73: what a killed exit left is taken over by its next start, and goes at its end"
        )
        func killedExit() async throws {
            let forwarding = "sysctl -n net.ipv4.ip_forward"
            let rules = try await lab.run("e2", "nft list ruleset")
            #expect(rules.contains("table inet umbel_exit_e2"))
            try await lab.kill("e2")
            #expect(try await lab.run("e2", "nft list tables").contains("umbel_exit_e2"))
            let socket = lab.socket("e2")
            #expect(FileManager.default.fileExists(atPath: socket))

            func start(_ file: String) async throws -> BackgroundProgram {
                let relay = try BackgroundProgram(
                    lab,
                    host: "e2",
                    [Lab.umbel, "relay", "--config", file]
                )
                try await eventually("it is ready: \(relay.output)") {
                    relay.output.contains("ready on")
                }
                return relay
            }
            let file = "\(lab.folder("e2"))/relay.toml"
            let again = try await start(file)
            let fresh = try await lab.run("e2", "nft list ruleset")
            #expect(fresh.components(separatedBy: "table inet").count == 2)
            again.send(SIGTERM)
            #expect(try await again.status() == 0)
            #expect(try await lab.run("e2", "nft list ruleset") == "")
            #expect(try await lab.run("e2", forwarding) == "0\n")
            #expect(try await !lab.run("e2", "ip -brief link").contains("umbel-exit"))
            #expect(!FileManager.default.fileExists(atPath: socket))

            // And where it is to be an exit no more.
            let third = try await start(file)
            third.send(SIGKILL)
            #expect(try await third.status() == 128 + 9)
            #expect(try await lab.run("e2", "nft list tables").contains("umbel_exit_e2"))
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let plain = "\(lab.scratch)/plain.toml"
            try Data(text.replacing("enabled = true", with: "enabled = false").utf8)
                .write(to: URL(fileURLWithPath: plain))
            let relay = try await start(plain)
            #expect(try await lab.run("e2", "nft list ruleset") == "")
            #expect(try await lab.run("e2", forwarding) == "0\n")
            relay.send(SIGTERM)
            #expect(try await relay.status() == 0)
            try await lab.start("e2")
        }

        @Test("row 75: a client with connections and an onlooker ends in order")
        func ends() async throws {
            try await lab.connect()
            let server = SocketAddress(ip: IPAddress(v4: 0xcb00_710a), port: 7_002)
            let stream = try SteadyStream(lab, from: "inet", server, to: "client")
            try await eventually("data flows") {
                stream.progress.byteCount > 100_000
            }
            let watch = try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "status", "--watch", "--socket", lab.socket("client")]
            )
            try await eventually("the onlooker sees") {
                watch.output.contains("connected")
            }
            let guardRelay = try await lab.path()[0]
            let circuits = try await lab.relay(guardRelay).circuits
            #expect(circuits > 0)
            let begin = ContinuousClock.now
            try await lab.kill("client", "TERM")
            let elapsed = ContinuousClock.now - begin
            print("row 75: the client ended after \(elapsed)")
            // What it waits for at most is half of this: it is not killed for taking too long.
            #expect(elapsed < .seconds(20))
            // It has taken leave: its guard need not find out by its silence.
            try await eventually("the guard has let the circuits go") {
                try await lab.relay(guardRelay).circuits == 0
            }
            _ = try await watch.status()
            #expect(!FileManager.default.fileExists(atPath: lab.socket("client")))
            try await lab.start("client")
        }

        @Test("row 75: an exit in use ends in order and takes its rules away")
        func exitEnds() async throws {
            try await lab.connect()
            let exit = try #require(try await lab.status().exit).nickname
            try await lab.expectAnswer(from: "203.0.113.10")
            let begin = ContinuousClock.now
            try await lab.without(exit, "TERM") {
                print("row 75: the exit ended after \(ContinuousClock.now - begin)")
                let rules = try await lab.run(exit, "nft list ruleset")
                #expect(rules == "")
                let interfaces = try await lab.run(exit, "ip -brief link")
                #expect(!interfaces.contains("umbel-exit"))
            }
        }

        @Test("rows 34 and 75: the service manager is told, and a bad file changes nothing")
        func serviceManager() async throws {
            let manager = try ServiceManagerSocket()
            let client = try await lab.configuration(like: "client")
            let daemon = try BackgroundProgram(
                lab,
                host: "stranger",
                ["env", "NOTIFY_SOCKET=\(manager.path)", "WATCHDOG_USEC=400000"]
                    + [Lab.umbel, "daemon", "--config", client.file]
            )
            /// The messages until one begins with `word`, that one too.
            func messages(until word: String) throws -> [String] {
                var heard: [String] = []
                while heard.last?.hasPrefix(word) != true {
                    heard.append(try #require(manager.next(milliseconds: 30_000), "no \(word)"))
                }
                return heard
            }
            _ = try messages(until: "READY=1")
            _ = try messages(until: "WATCHDOG=1")
            daemon.send(SIGHUP)
            _ = try messages(until: "RELOADING=1\nMONOTONIC_USEC=")
            _ = try messages(until: "READY=1")
            try await eventually("it says so") {
                daemon.output.contains("configuration read again")
            }
            let good = try String(contentsOfFile: client.file, encoding: .utf8)
            try Data((good + "\n[tunel]\nmtu = 1\n").utf8)
                .write(to: URL(fileURLWithPath: client.file))
            daemon.send(SIGHUP)
            _ = try messages(until: "READY=1")
            try await eventually("it names the mistake: \(daemon.output)") {
                daemon.output.contains("did you mean `tunnel`?")
                    && daemon.output.contains("stays in force")
            }
            _ = try messages(until: "WATCHDOG=1")
            let socket = "\(client.folder)/control.sock"
            let up = try await lab.outcome(
                "stranger",
                [Lab.umbel, "up", "--wait", "--socket", socket],
                seconds: 60
            )
            #expect(up.status == 0, "\(up.message)")
            _ = try messages(until: "STATUS=connected through ")
            let down = try await lab.outcome("stranger", [Lab.umbel, "down", "--socket", socket])
            #expect(down.status == 0)
            daemon.send(SIGTERM)
            _ = try messages(until: "STOPPING=1")
            #expect(try await daemon.status() == 0)
        }

        @Test("row 72: without a daemon a command says how to start one")
        func noDaemon() async throws {
            let begin = ContinuousClock.now
            let outcome = try await lab.outcome(
                "stranger",
                [Lab.umbel, "status", "--socket", "\(lab.scratch)/none.sock"]
            )
            expectRefusal(outcome, status: 69, "umbel daemon --config")
            #expect(ContinuousClock.now - begin < .seconds(20))
            // One that is there but stalled is given up on.
            try await lab.kill("r1", "STOP")
            let stalled = try await lab.umbel("status", host: "r1", seconds: 10)
            try await lab.kill("r1", "CONT")
            expectRefusal(stalled, status: 69, "hint: ")
        }
    }
}
