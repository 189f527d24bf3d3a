import Base
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What goes wrong while the path carries all it can.
    ///
    /// Test matrix rows 3, 6, 24, 26, 27.
    @Suite("Full load", .lab())
    struct Load {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private static let server = "203.0.113.10"

        private struct Run: Decodable {
            struct Interval: Decodable {
                struct Sum: Decodable {
                    var bytes: Double
                }
                var sum: Sum
            }
            var intervals: [Interval]
        }

        /// Bytes that came in each second of a run of iperf3.
        private func seconds(_ arguments: String) async throws -> [Double] {
            let text = try await lab.run("client", "iperf3 -J -i 1 -c \(Self.server) \(arguments)")
            return try JSONDecoder().decode(Run.self, from: Data(text.utf8))
                .intervals.map(\.sum.bytes)
        }

        @Test(
            "row 6: with datagrams lost all goes slower, and never stands still",
            arguments: [1, 5]
        )
        func loss(percent: Int) async throws {
            try await lab.connect()
            let impaired = try await lab.lab("impair", "client", "--loss", "\(percent)%")
            try #require(impaired.status == 0, "\(impaired.message)")
            for direction in ["", "-R"] {
                let bytes = try await seconds("-t 5 -P 4 \(direction)")
                print("row 6: \(percent) % \(direction): \(bytes.map { Int($0 * 8 / 1e6) }) Mbit/s")
                #expect(bytes.count >= 5 && bytes.allSatisfy { $0 > 0 })
            }
            let mended = try await lab.lab("impair", "client", "--clear")
            try #require(mended.status == 0, "\(mended.message)")
        }

        // MARK: Transfers

        private var original: String { "\(lab.folder("inet"))/www/load" }

        private func makeFile(megabytes: Int) async throws {
            try await lab.run(
                "inet",
                "dd if=/dev/urandom of=\(original) bs=1000000 count=\(megabytes) status=none"
            )
        }

        /// A download of the file under way: some of it is there, and not all.
        private func download(to copy: String) async throws -> BackgroundProgram {
            let program = try BackgroundProgram(
                lab,
                host: "client",
                ["curl", "-sS", "--max-time", "120", "-o", copy, "http://\(Self.server)/load"]
            )
            try await eventually("the download begins") { byteCount(of: copy) > 1_000_000 }
            return program
        }

        private func byteCount(of path: String) -> UInt64 {
            let attributes = try? FileManager.default.attributesOfItem(atPath: path)
            return (attributes?[.size] as? UInt64) ?? 0
        }

        /// Does `disturb` while the file comes in, and expects it to arrive whole.
        private func transfer(
            megabytes: Int,
            during disturb: () async throws -> Void
        ) async throws {
            try await lab.connect()
            try await makeFile(megabytes: megabytes)
            let copy = "\(lab.scratch)/copy"
            try? FileManager.default.removeItem(atPath: copy)
            let program = try await download(to: copy)
            try await disturb()
            #expect(try await program.status() == 0, "\(program.output)")
            #expect(FileManager.default.contentsEqual(atPath: original, andPath: copy))
        }

        @Test("row 27: a relay that stands still for two seconds costs no byte")
        func stoppedRelay() async throws {
            try await transfer(megabytes: 300) {
                let middle = try await lab.path()[1]
                try await lab.without(middle, "STOP") {
                    try await Task.sleep(for: .seconds(2))
                }
            }
        }

        @Test("row 26: nor does the death of a relay")
        func killedRelay() async throws {
            try await transfer(megabytes: 300) {
                let middle = try await lab.path()[1]
                try await lab.without(middle, "KILL") {
                    try await eventually("another middle serves") {
                        try await !lab.path().contains(middle)
                    }
                }
            }
        }

        @Test("row 3: nor does an MTU that shrinks below a cell, where no ICMP tells of it")
        func smallerMTU() async throws {
            let rules = """
                table inet lab_icmp {
                chain out {
                type filter hook output priority filter;
                icmp type destination-unreachable drop
                icmpv6 type packet-too-big drop
                }
                }

                """
            let cut = try await lab.outcome("core", ["nft", "-f", "-"], input: rules)
            try #require(cut.status == 0, "\(cut.message)")
            try await transfer(megabytes: 150) {
                try await lab.run("client", "ip link set dev eth0 mtu 1280")
                try await lab.run("core", "ip link set dev client mtu 1280")
            }
            try await lab.run("client", "ip link set dev eth0 mtu 1500")
            try await lab.run("core", "ip link set dev client mtu 1500")
            try await lab.run("core", "nft delete table inet lab_icmp")
        }

        @Test("nor does a client that does not read its TUN device for a second")
        func stalledReader() async throws {
            try await transfer(megabytes: 300) {
                try await lab.kill("client", "STOP")
                try await Task.sleep(for: .seconds(1))
                try await lab.kill("client", "CONT")
            }
        }

        // MARK: Checksums

        /// Packets the kernels of the hosts at both ends of the tunnel found broken.
        private func brokenPackets() async throws -> Int {
            var count = 0
            for host in ["client", "e1", "e2", "inet"] {
                let text = try await lab.run(host, "cat /proc/net/snmp /proc/net/snmp6")
                var names: [Substring] = []
                for line in text.split(separator: "\n") {
                    let words = line.split(separator: " ", omittingEmptySubsequences: true)
                    if words.count == 2, words[0].hasSuffix("InCsumErrors") {
                        count += Int(words[1]) ?? 0
                    } else if names.first == words.first {
                        for (name, value) in zip(names, words) where name == "InCsumErrors" {
                            count += Int(value) ?? 0
                        }
                        names = []
                    } else {
                        names = words
                    }
                }
            }
            return count
        }

        private func setOffloads(_ isOn: Bool) async throws {
            let word = isOn ? "on" : "off"
            for host in ["client", "r1", "r2", "r3", "r4", "r5", "e1", "e2", "inet"] {
                let links = try await lab.run(host, "ip -brief link").split(separator: "\n")
                for link in links {
                    let name = link.prefix { $0 != " " && $0 != "@" }
                    guard name == "eth0" || name.hasPrefix("umbel") else { continue }
                    // A device without one of them says so; what counts is what it has.
                    _ = try await lab.outcome(
                        host,
                        ["ethtool", "-K", "\(name)"]
                            + ["tx", "rx", "sg", "tso", "gso", "gro"].flatMap { [$0, word] }
                    )
                }
            }
        }

        @Test(
            "300 MB each way arrive byte for byte, and no kernel sees a wrong checksum",
            arguments: [true, false]
        )
        func everyByte(hasOffloads: Bool) async throws {
            try await lab.connect()
            try await setOffloads(hasOffloads)
            let before = try await brokenPackets()
            let begun = ContinuousClock.now
            try await transfer(megabytes: 300) {}
            let down = ContinuousClock.now - begun
            let copy = "\(lab.scratch)/up"
            try? FileManager.default.removeItem(atPath: copy)
            let receiver = try BackgroundProgram(
                lab,
                host: "inet",
                ["socat", "-u", "TCP4-LISTEN:7002,reuseaddr", "CREATE:\(copy)"]
            )
            try await eventually("the receiver listens") {
                try await lab.run("inet", "ss -Hltn").contains(":7002 ")
            }
            let sender = try BackgroundProgram(
                lab,
                host: "client",
                ["socat", "-u", "OPEN:\(original)", "TCP:\(Self.server):7002"]
            )
            #expect(try await sender.status() == 0, "\(sender.output)")
            #expect(try await receiver.status() == 0, "\(receiver.output)")
            #expect(FileManager.default.contentsEqual(atPath: original, andPath: copy))
            #expect(try await brokenPackets() == before)
            print("offloads \(hasOffloads): \(down) down, \(ContinuousClock.now - begun) in all")
            try await setOffloads(true)
        }

        // MARK: Memory

        /// A control group with a bound on memory, version 1 or 2.
        private struct MemoryGroup {
            let folder: String

            init?(_ name: String, byteCount: Int) {
                let root = "/sys/fs/cgroup"
                let isFirst = FileManager.default.fileExists(atPath: "\(root)/memory/tasks")
                folder = isFirst ? "\(root)/memory/\(name)" : "\(root)/\(name)"
                guard mkdir(folder, 0o755) == 0 else { return nil }
                let file = isFirst ? "memory.limit_in_bytes" : "memory.max"
                guard write("\(byteCount)", to: file) else {
                    rmdir(folder)
                    return nil
                }
            }

            func write(_ text: String, to file: String) -> Bool {
                let descriptor = open("\(folder)/\(file)", O_WRONLY)
                guard descriptor >= 0 else { return false }
                defer { close(descriptor) }
                return Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count
            }

            func remove() { rmdir(folder) }
        }

        private static let canBoundMemory: Bool = {
            guard let group = MemoryGroup("umbel-test-\(getpid())", byteCount: 1 << 26) else {
                return false
            }
            group.remove()
            return true
        }()

        @Test(
            "row 24: relays within 64 MiB live through all the path can carry, and a reader that sleeps",
            .enabled(if: canBoundMemory, "no control group can be made here")
        )
        func boundedMemory() async throws {
            let relays = ["r1", "r2", "r3", "r4", "r5", "e1", "e2"]
            for relay in relays { try await lab.kill(relay, "KILL") }
            for relay in relays { try await lab.start(relay) }
            var groups: [MemoryGroup] = []
            for relay in relays {
                let name = "umbel-\(lab.name)-\(relay)"
                let group = try #require(MemoryGroup(name, byteCount: 64 << 20))
                groups.append(group)
                try #require(group.write("\(try lab.pid(relay))", to: "cgroup.procs"))
            }
            try await lab.connect()
            let pids = try relays.map { try lab.pid($0) }
            // Asks for much, and reads none of it.
            let sniper = try BackgroundProgram(
                lab,
                host: "client",
                ["socat", "-u", "TCP:\(Self.server):80", "EXEC:sleep 60"]
            )
            let bytes = try await seconds("-t 5 -P 4 -R")
            #expect(bytes.allSatisfy { $0 > 0 })
            let flood = try await lab.outcome(
                "client",
                ["iperf3", "-c", Self.server, "-u", "-b", "0", "-l", "64", "-t", "3"]
            )
            #expect(flood.status == 0, "\(flood.message)")
            sniper.send(SIGKILL)
            #expect(try relays.map { try lab.pid($0) } == pids)
            for (relay, pid) in zip(relays, pids) {
                #expect(kill(pid, 0) == 0, "\(relay) is gone: \(lab.log(relay).suffix(500))")
            }
            try await lab.expectAnswer(from: Self.server)
            for relay in relays { try await lab.kill(relay, "KILL") }
            for group in groups { group.remove() }
            for relay in relays { try await lab.start(relay) }
            try await lab.connect()
        }
    }
}
