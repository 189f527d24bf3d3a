import Base
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

@Suite("Labs for real", .enabled(if: obstacle == nil, needs), .serialized)
struct LabTests {
    @Test("hosts reach each other and the servers, v4 and v6, and down leaves nothing")
    func network() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            for target in ["192.0.2.13", "2001:db8:2::13", "198.18.1.10", "2001:db8:1::10"] {
                #expect(try await lab.exec("h2", "ping -n -c1 -W2 \(target)").status == 0)
            }
            #expect(try await lab.exec("h2", "ping -n -c1 -W1 9.9.9.9").status != 0)
            for family in ["-4", "-6"] {
                let web = try await lab.exec("h1", "curl -sS \(family) http://www.umbel.test/")
                let own = family == "-4" ? "198.18.1.10" : "2001:db8:1::10"
                #expect(web.output == "\(own) asked for www.umbel.test\n", "\(web.message)")
            }
            let blob = try await lab.exec("h1", "curl -sS http://www.umbel.test/blob -o /dev/null")
            #expect(blob.status == 0)
            let names = try await lab.exec("h1", "dig +short AAAA www.umbel.test")
            #expect(names.output == "2001:db8:f::10\n")
            let other = try await lab.exec("h1", "dig www.example.com")
            #expect(other.output.contains("status: REFUSED"))
            for port in [5201, 5202] {
                let speed = try await lab.exec("h1", "iperf3 -c 203.0.113.10 -p \(port) -n 1M")
                #expect(speed.status == 0)
            }
            let control = try await lab.exec("h1", "cat /proc/sys/net/ipv4/tcp_congestion_control")
            #expect(control.output == "cubic\n")
            let echo = try await CommandRunner(namespace: "\(lab.name)-h1").run(
                ["socat", "-t1", "-T1", "-", "UDP:203.0.113.10:7"],
                input: "echoed\n"
            )
            #expect(echo == "echoed\n")
            #expect(try await lab.lab("down").status == 0)
            #expect(try await lab.remains() == [])
            #expect(try await lab.lab("down").status == 0)
            #expect(try await lab.lab("status").status == 1)
        }
    }

    @Test("exec passes the exit status on, and a host that is not there is named")
    func exec() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            #expect(try await lab.exec("h1", "false").status == 1)
            let seven = try await lab.lab("exec", ["h1", "--", "sh", "-c", "exit 7"])
            #expect(seven.status == 7)
            let wrong = try await lab.exec("h9", "true")
            #expect(wrong.status == 1)
            #expect(wrong.message.contains("there are inet, h1, h2, h3"))
        }
    }

    @Test("a second up is refused and changes nothing")
    func twice() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            let second = try await lab.lab("up", [lab.file])
            #expect(second.status == 1)
            #expect(second.message.contains("already there"))
            #expect(try await lab.state(of: "inet") == "running")
        }
    }

    @Test(
        "up killed at any moment is cleaned up by down",
        arguments: ["0.01", "0.03", "0.06", "0.1", "0.15", "0.2", "0.3"]
    )
    func crash(seconds: String) async throws {
        try await LabFixture.with { lab in
            _ = try await CommandRunner().outcome(
                of: [
                    "timeout", "-s", "KILL", seconds, lab.program, "up", "--name", lab.name,
                    lab.file,
                ]
            )
            let down = try await lab.lab("down")
            #expect(down.status == 0, "\(down.message)")
            #expect(try await lab.remains() == [])
            try await lab.up()
            #expect(try await lab.state(of: "inet") == "running")
        }
    }

    @Test("a namespace that is not ours stops up, and down leaves it alone")
    func foreign() async throws {
        try await LabFixture.with { lab in
            let other = NetworkNamespace("\(lab.name)-h2")
            try await other.create()
            let outcome = try await lab.lab("up", [lab.file])
            #expect(outcome.status == 1)
            #expect(outcome.message.contains("\(lab.name)-h2 is taken"))
            #expect(try await lab.lab("down").status == 0)
            #expect(other.exists)
            try await other.delete()
        }
    }

    @Test("killed servers are seen as stopped and come back with start")
    func kill() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            #expect(try await lab.lab("kill", ["inet", "--signal", "STOP"]).status == 0)
            #expect(try await lab.state(of: "inet") == "stalled")
            #expect(try await lab.lab("kill", ["inet", "--signal", "CONT"]).status == 0)
            #expect(try await lab.state(of: "inet") == "running")
            #expect(try await lab.lab("kill", ["inet"]).status == 0)
            #expect(try await lab.state(of: "inet") == "stopped")
            #expect(try await lab.exec("h1", "curl -sS -m2 http://203.0.113.10/").status != 0)
            let start = try await lab.lab("start", ["inet"])
            #expect(start.status == 0, "\(start.message)")
            #expect(try await lab.exec("h1", "curl -sS -m2 http://203.0.113.10/").status == 0)
            #expect(try await lab.lab("kill", ["h1"]).status == 1)
        }
    }

    @Test("a process of ours that ended is never mistaken for another of its number")
    func identity() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            let folder = LabFolder(lab: lab.name)
            var manifest = try folder.existing()
            let index = try manifest.index(of: "inet")
            // As if the number had gone to another program: this test's own process.
            var wrong = try #require(ProcessIdentity(pid: getpid()))
            wrong.start -= 1
            manifest.hosts[index].programs[0].process = wrong
            try folder.save(manifest)
            #expect(try await lab.state(of: "inet") == "stopped")
            #expect(try await lab.lab("down").status == 0)
        }
    }

    private func roundTrip(_ lab: LabFixture, _ target: String) async throws -> Double? {
        // The first packet also finds the neighbour's address, which takes another round trip.
        _ = try await lab.exec("h2", "ping -n -c1 -W2 \(target)")
        let ping = try await lab.exec("h2", "ping -n -c3 -i0.1 -W2 -q \(target)")
        return ping.output.split(separator: "/").dropFirst(3).first
            .flatMap { $0.split(separator: " ").last }.flatMap { Double($0) }
    }

    @Test("delay holds packets both ways, on a bridged and on a routed cable, and is mended")
    func delay() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            for (host, target) in [("h3", "192.0.2.13"), ("inet", "203.0.113.10")] {
                #expect(try #require(try await roundTrip(lab, target)) < 20)
                let impair = try await lab.lab("impair", [host, "--delay", "20ms"])
                #expect(impair.status == 0, "\(impair.message)")
                let slow = try #require(try await roundTrip(lab, target))
                #expect(slow >= 40 && slow < 80)
                #expect(try await lab.lab("impair", [host, "--clear"]).status == 0)
                #expect(try #require(try await roundTrip(lab, target)) < 20)
            }
        }
    }

    @Test("loss loses, a rate holds, and the cable is good again afterwards")
    func lossAndRate() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            #expect(try await lab.lab("impair", ["h1", "--loss", "100%"]).status == 0)
            #expect(try await lab.exec("h1", "ping -n -c2 -i0.1 -W1 203.0.113.10").status == 1)
            #expect(try await lab.lab("impair", ["h1", "--loss", "30%"]).status == 0)
            let lossy = try await lab.exec("h1", "ping -n -c200 -i0.002 -W1 -q 203.0.113.10")
            let received = lossy.output.firstMatch(of: /(\d+) received/).flatMap { Int($0.1) } ?? 0
            // 0.7² of 200 is 98; eight standard deviations to either side.
            #expect((42...154).contains(received))
            #expect(try await lab.lab("impair", ["h1", "--rate", "20mbit"]).status == 0)
            let seconds = try await lab.exec(
                "h1",
                "curl -sS -m30 -o /dev/null -w %{time_total} http://203.0.113.10/blob"
            )
            // 16 MiB at 20 Mbit/s take 6.7 s.
            #expect(try #require(Double(seconds.output)) > 6)
            #expect(try await lab.lab("impair", ["h1", "--clear"]).status == 0)
            let clean = try await lab.exec("h1", "ping -n -c200 -i0.002 -W1 -q 203.0.113.10")
            #expect(clean.output.contains("200 received"))
        }
    }

    @Test("a link's faults in the topology are there from the start")
    func initialFaults() async throws {
        let topology = LabFixture.topology.replacing(
            "\"2001:db8:1::10\"]}",
            with: "\"2001:db8:1::10\"], link: {loss: 100%}}"
        )
        try await LabFixture.with(topology) { lab in
            try await lab.up()
            #expect(try await lab.exec("h1", "ping -n -c1 -W1 203.0.113.10").status == 1)
            #expect(try await lab.exec("h2", "ping -n -c1 -W1 203.0.113.10").status == 0)
        }
    }

    @Test("a train of datagrams is captured as its datagrams")
    func capture() async throws {
        try await LabFixture.with { lab in
            try await lab.up()
            let capture = Task {
                try await lab.lab("capture", ["h1", "\(lab.folder)/h1.pcap", "--duration", "3"])
            }
            // UDP_SEGMENT (17, 103) hands the kernel one train of 1392-byte datagrams. It is sent
            // until the capture, which takes a moment to begin, has ended.
            let command =
                "yes 0123456 | head -c 13920 | socat -u -b 65536 - "
                + "UDP:203.0.113.10:9,setsockopt-int=17:103:1392"
            let deadline = ContinuousClock.now + .seconds(4)
            while ContinuousClock.now < deadline {
                _ = try await lab.lab("exec", ["h1", "--", "sh", "-c", command])
                try await Task.sleep(for: .milliseconds(100))
            }
            let outcome = try await capture.value
            #expect(outcome.status == 0, "\(outcome.message)")
            let text = try await CommandRunner().run(
                ["tcpdump", "-n", "-v", "-r", "\(lab.folder)/h1.pcap", "udp", "dst", "port", "9"]
            )
            #expect(text.contains("UDP, length 1392"))
            #expect(!text.contains("UDP, length 13920"))
            #expect(outcome.message.firstMatch(of: /\(\d+ frames, [1-9]\d* of them/) != nil)
        }
    }
}
