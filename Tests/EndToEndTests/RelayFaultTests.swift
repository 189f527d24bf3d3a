import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What a relay says of a machine that is not as it should be.
    ///
    /// Test matrix rows 32, 62, 71 and 80.
    @Suite("A relay on a bad day", .lab())
    struct RelayFaults {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// The file of a new relay on the stranger's host, and the folder it is in.
        private func newRelay(
            _ name: String,
            port: Int,
            address: String = "198.18.99.9"
        ) async throws -> (folder: String, file: String) {
            let folder = "\(lab.scratch)/\(name)"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            let command = initialise(name, port, address: address)
            let made = try await lab.outcome("stranger", [Lab.umbel] + command)
            try #require(made.status == 0, "\(made.message)")
            return (folder, "\(folder)/relay.toml")
        }

        private func initialise(
            _ name: String,
            _ port: Int,
            address: String = "198.18.99.9"
        ) -> [String] {
            let folder = "\(lab.scratch)/\(name)"
            return [
                "relay", "init", "--name", name, "--address", "\(address):\(port)",
                "--network", "/run/umbel-lab/\(lab.name)/directory/network.toml", "--config",
                "\(folder)/relay.toml", "--state", "\(folder)/state", "--socket",
                // Not the relay's own port, where it hands out the directory, be that on the loopback.
                "\(folder)/control.sock", "--metrics", "127.0.0.1:\(port + 1_000)", "--yes",
            ]
        }

        /// Expects three lines, the last one a hint, with `words`.
        private func expectRefusal(
            _ outcome: CommandRunner.Outcome,
            status: ControlAPI.ExitStatus,
            _ words: String...
        ) {
            #expect(outcome.status == status.rawValue, "\(outcome)")
            let lines = outcome.message.split(separator: "\n").filter { !$0.hasPrefix("<") }
            #expect(lines.count == 3, "\(outcome.message)")
            #expect(lines.last?.contains("hint: ") == true, "\(outcome.message)")
            for word in words { #expect(outcome.message.contains(word), "\(outcome.message)") }
        }

        /// Runs what follows on a file system of its own at `folder` that is full.
        private func onFullDisk(_ folder: String) -> [String] {
            let script = """
                cp -a \(folder) \(folder).kept
                mount -t tmpfs -o size=64k none \(folder)
                cp -a \(folder).kept/. \(folder) && rm -r \(folder).kept
                dd if=/dev/zero of=\(folder)/fill bs=1k 2>/dev/null
                exec "$@"
                """
            return ["unshare", "-m", "sh", "-c", script, "-", Lab.umbel]
        }

        @Test("row 62: on a full disk init makes nothing, and a relay does not start or says so")
        func fullDisk() async throws {
            let folder = "\(lab.scratch)/full"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            let made = try await lab.outcome(
                "stranger",
                [
                    "unshare", "-m", "sh", "-c",
                    """
                    mount -t tmpfs -o size=16k none \(folder)
                    dd if=/dev/zero of=\(folder)/fill bs=1k 2>/dev/null
                    "$@"; status=$?; ls -A \(folder); exit $status
                    """, "-", Lab.umbel,
                ] + initialise("full", 4_450)
            )
            expectRefusal(made, status: .failed, folder)
            #expect(made.output == "fill\n")

            let relay = try await newRelay("full", port: 4_450)
            let program = try BackgroundProgram(
                lab,
                host: "stranger",
                onFullDisk("\(relay.folder)/state") + ["relay", "--config", relay.file]
            )
            // One that is about to end says so too: whether it goes on shows when it is ready.
            try await eventually("it ends, or says what it cannot write: \(program.output)") {
                !program.isRunning
                    || program.output.contains("\(relay.folder)/state")
                        && program.output.contains("ready on")
            }
            #expect(program.output.contains("\(relay.folder)/state"), "\(program.output)")
            if program.isRunning {
                program.send(SIGTERM)
                #expect(try await program.status() == 0)
            } else {
                #expect(program.output.contains("hint: "), "\(program.output)")
                #expect([1, 69].contains(try await program.status()))
            }
        }

        @Test("row 71: an exit whose connections are to show an address it has not does not start")
        func foreignAddress() async throws {
            let folder = "\(lab.scratch)/foreign"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            let text = try String(
                contentsOfFile: "\(lab.folder("e1"))/relay.toml",
                encoding: .utf8
            )
            let file = "\(folder)/relay.toml"
            let own = "addresses = [\"198.19.7.10\", \"198.51.100.77\"]"
            try Data(
                text.replacing(":4433", with: ":4434").replacing("\"e1\"", with: "\"x1\"")
                    .replacing(
                        "enabled = true",
                        with: "enabled = true\n\(own)\ninterface = \"other\""
                    )
                    .replacing("\(lab.folder("e1"))/control", with: "\(folder)/control").utf8
            ).write(to: URL(fileURLWithPath: file))
            let outcome = try await lab.outcome("e1", [Lab.umbel, "relay", "--config", file])
            expectRefusal(outcome, status: .unavailable, "198.51.100.77")
            #expect(try await !lab.run("e1", "nft list tables").contains("umbel_exit_x1"))
            #expect(try await !lab.run("e1", "ip -brief link").contains("other"))
        }

        @Test("row 71: a relay nobody can be told of, for its address is none, says so")
        func loopback() async throws {
            let relay = try await newRelay("loopback", port: 4_470, address: "127.0.0.1")
            let program = try BackgroundProgram(
                lab,
                host: "stranger",
                [Lab.umbel, "relay", "--config", relay.file]
            )
            try await eventually("it says so: \(program.output)") {
                program.output.contains("no descriptor can be made of [node] and [listen]")
                    && program.output.contains("ready on")
            }
            let check = try await lab.outcome(
                "stranger",
                [
                    Lab.umbel, "relay", "check", "--wait", "20", "--socket",
                    "\(relay.folder)/control.sock",
                ]
            )
            expectRefusal(check, status: .configuration, "not told", "[listen]")
            program.send(SIGTERM)
            #expect(try await program.status() == 0)
        }

        /// A library that shifts what programs think the time of day is by `UMBELTEST_SHIFT` seconds.
        private func clockLibrary() async throws -> String {
            let source = "\(lab.scratch)/clock.c"
            let library = "\(lab.scratch)/clock.so"
            let text = """
                #define _GNU_SOURCE
                #include <dlfcn.h>
                #include <stdlib.h>
                #include <time.h>
                int clock_gettime(clockid_t clock, struct timespec *time) {
                    static int (*real)(clockid_t, struct timespec *);
                    if (!real) real = (int (*)(clockid_t, struct timespec *))
                        dlsym(RTLD_NEXT, "clock_gettime");
                    int result = real(clock, time);
                    const char *shift = getenv("UMBELTEST_SHIFT");
                    if (clock == CLOCK_REALTIME && shift) time->tv_sec += atol(shift);
                    return result;
                }
                """
            try Data(text.utf8).write(to: URL(fileURLWithPath: source))
            let command = ["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"]
            try await CommandRunner().run(command)
            return library
        }

        @Test(
            "row 32: a clock that is off by an hour, or by more, is told, and `check` says what to do",
            arguments: [("ahead", 3_600), ("behind", -3_600), ("far", 7_200)]
        )
        func clock(name: String, shift: Int) async throws {
            let ports = ["ahead": 4_451, "behind": 4_452, "far": 4_453]
            let relay = try await newRelay(name, port: try #require(ports[name]))
            let library = try await clockLibrary()
            let environment = ["env", "LD_PRELOAD=\(library)", "UMBELTEST_SHIFT=\(shift)"]
            let program = try BackgroundProgram(
                lab,
                host: "stranger",
                environment + [Lab.umbel, "relay", "--config", relay.file]
            )
            let way = shift > 0 ? "ahead of" : "behind"
            try await eventually("it says what is wrong: \(program.output)") {
                program.output.contains("this machine's clock is wrong: ")
                    && program.output.contains(" s \(way)")
            }
            let check = try await lab.outcome(
                "stranger",
                [
                    Lab.umbel, "relay", "check", "--wait", "60", "--socket",
                    "\(relay.folder)/control.sock",
                ],
                seconds: 90
            )
            expectRefusal(check, status: .failed, "clock is wrong", way, "timedatectl")
            let status = try await lab.outcome(
                "stranger",
                [Lab.umbel, "relay", "status", "--socket", "\(relay.folder)/control.sock"]
            )
            #expect(status.output.contains("CLOCK"), "\(status.output)")
            program.send(SIGTERM)
            #expect(try await program.status() == 0)
        }

        @Test("row 80: metrics hold promtool's rules under load, and no client's address")
        func scrape() async throws {
            let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            let tool = folders.map { "\($0)/promtool" }
                .first(where: FileManager.default.isExecutableFile(atPath:))
            if tool == nil {
                print("SKIPPED: promtool is not here; Debian has it in the package prometheus")
            }
            try await lab.connect()
            let guardRelay = try await lab.path()[0]
            let file = URL(fileURLWithPath: "\(lab.folder(guardRelay))/relay.toml")
            let text = try String(contentsOf: file, encoding: .utf8)
            try Data((text + "\n[metrics]\nlisten = \"127.0.0.1:9464\"\n").utf8).write(to: file)
            try await lab.kill(guardRelay, "TERM")
            try await lab.start(guardRelay)
            try await lab.connect()
            let load = try BackgroundProgram(
                lab,
                host: "client",
                ["iperf3", "-c", "203.0.113.10", "-t", "60", "-P", "4"]
            )
            try await eventually("data flows: \(load.output)") {
                load.output.contains("Mbits/sec") || load.output.contains("Gbits/sec")
            }
            for _ in 0..<20 {
                let metrics = try await lab.run(guardRelay, "curl -s http://127.0.0.1:9464/metrics")
                #expect(metrics.contains("umbel_circuits"))
                #expect(!metrics.contains("198.51.100") && !metrics.contains("203.0.113"))
                guard let tool else { continue }
                let checked = try await CommandRunner().outcome(
                    of: [tool, "check", "metrics"],
                    input: metrics
                )
                #expect(checked.status == 0 && checked.message == "", "\(checked)")
            }
            load.send(SIGTERM)
            _ = try await load.status()
        }
    }
}
