import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What goes through three relays comes out the same.
    ///
    /// Test matrix rows 1 and 2.
    @Suite("Traffic through three relays", .lab())
    struct Traffic {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        @Test("row 1: echoes come back over IPv4 and IPv6, and the server sees the exit, not us")
        func echoes() async throws {
            try await lab.connect()
            for target in ["203.0.113.10", "2001:db8:f::10"] {
                let ping = try await lab.run("client", "ping -n -c10 -i0.05 -W20 \(target)")
                #expect(ping.contains(" 10 received"), "\(ping)")
            }
            // 2 000 bytes need two cells each way.
            let large = try await lab.run("client", "ping -n -c5 -i0.05 -W20 -s2000 203.0.113.10")
            #expect(large.contains(" 5 received"), "\(large)")
            let path = try await lab.path()
            #expect(Set(path).count == 3)
            let number = try #require(path.last?.last)
            let exit = (number == "1" ? "198.19.7.10" : "198.19.8.10")
            let web = try await lab.run("client", "curl -sS -4 http://www.umbel.test/")
            #expect(web == "\(exit) asked for www.umbel.test\n")
            let web6 = try await lab.run("client", "curl -sS -6 http://www.umbel.test/")
            #expect(web6.hasPrefix("2001:db8:10\(number == "1" ? 7 : 8)::10 asked"), "\(web6)")
        }

        @Test("exits are measured, chosen by a list of countries, and refused where there is none")
        func exits() async throws {
            // An exit that failed a moment ago, when the lab began, is left alone for some seconds.
            try await eventually("every exit is measured") {
                let measured = try await lab.umbel("exits", "--measure", "--json")
                try #require(measured.status == 0, "\(measured.message)")
                let list = try JSONDecoder().decode(
                    RelayListReport.self,
                    from: Data(measured.output.utf8)
                )
                #expect(Set(list.relays.map(\.country)) == ["DE", "NL"])
                return list.relays.allSatisfy {
                    $0.roundTripMilliseconds ?? 0 > 0 && $0.buildMilliseconds ?? 0 > 0
                }
            }
            let nowhere = try await lab.umbel("up", "--exit", "AQ", "--wait")
            #expect(nowhere.status == 64)
            #expect(nowhere.message.contains("there is no exit in AQ"), "\(nowhere.message)")
            #expect(nowhere.message.contains("exits in DE, NL"), "\(nowhere.message)")
            let up = try await lab.umbel("up", "--exit", "aq,nl", "--wait")
            #expect(up.status == 0, "\(up.message)")
            #expect(try await lab.status().exit?.country == "NL")
            try await lab.disconnect()
        }

        @Test(
            "row 1: a file arrives byte for byte, down and up, v4 and v6",
            arguments: ["-4", "-6"]
        )
        func file(family: String) async throws {
            try await lab.connect()
            let original = "\(lab.folder("inet"))/www/bytes"
            let copies = ["down", "up"].map { "\(lab.scratch)/\($0)\(family)" }
            try await lab.run("inet", "dd if=/dev/urandom of=\(original) bs=1M count=8 status=none")
            try await lab.run(
                "client",
                "curl -sS \(family) --max-time 30 -o \(copies[0]) http://www.umbel.test/bytes"
            )
            #expect(FileManager.default.contentsEqual(atPath: original, andPath: copies[0]))
            let listen = "TCP6-LISTEN:7001,ipv6only=0,reuseaddr"
            let receiver = try BackgroundProgram(
                lab,
                host: "inet",
                ["socat", "-u", listen, "CREATE:\(copies[1])"]
            )
            try await eventually("the receiver listens") {
                try await lab.run("inet", "ss -Hltn").contains(":7001 ")
            }
            let target = family == "-4" ? "203.0.113.10" : "[2001:db8:f::10]"
            try await lab.run("client", "socat -u OPEN:\(original) TCP:\(target):7001")
            #expect(try await receiver.status() == 0)
            #expect(FileManager.default.contentsEqual(atPath: original, andPath: copies[1]))
        }

        private struct Throughput: Decodable {
            struct End: Decodable {
                struct Sum: Decodable {
                    var bytes: Double
                    var lost_percent: Double?
                }
                struct Connection: Decodable {
                    var receiver: Sum?
                }
                var streams: [Connection]
                var sum_sent: Sum?
                var sum_received: Sum?
                var sum: Sum?
            }
            var end: End
        }

        @Test(
            "row 1: 1, 4 and 50 connections at once all get their share, and it is counted",
            arguments: [(1, "-4", ""), (4, "-6", "-R"), (50, "-4", "")]
        )
        func parallel(count: Int, family: String, direction: String) async throws {
            try await lab.connect()
            let before = try await lab.status()
            let text = try await lab.run(
                "client",
                "iperf3 -J \(family) -c www.umbel.test -P \(count) -t 2 \(direction)"
            )
            let end = try JSONDecoder().decode(Throughput.self, from: Data(text.utf8)).end
            #expect(end.streams.count == count)
            #expect(end.streams.allSatisfy { ($0.receiver?.bytes ?? 0) > 0 })
            let received = try #require(end.sum_received).bytes
            // What was under way when time was up is not read by the receiver.
            #expect(received <= (try #require(end.sum_sent).bytes))
            let after = try await lab.status()
            let carried =
                direction.isEmpty
                ? after.bytesSent - before.bytesSent : after.bytesReceived - before.bytesReceived
            #expect(Double(carried) >= received)
            print("row 1: \(count) TCP \(family) \(direction): \(Int(received * 4 / 1e6)) Mbit/s")
        }

        @Test("row 1: UDP arrives, v4 and v6", arguments: ["-4", "-6"])
        func datagrams(family: String) async throws {
            try await lab.connect()
            let text = try await lab.run(
                "client",
                "iperf3 -J \(family) -c www.umbel.test -u -b 5M -l 1200 -t 2"
            )
            let end = try JSONDecoder().decode(Throughput.self, from: Data(text.utf8)).end
            // How much gets lost is a matter of how busy the machine is.
            #expect(try #require(end.sum?.lost_percent) < 50)
        }

        @Test(
            "row 2: a machine with one address family is connected, and carries both inside",
            arguments: [4, 6]
        )
        func outerFamily(family: Int) async throws {
            try await lab.kill("client", "TERM")
            try await lab.run("client", "ip -\(family == 4 ? 6 : 4) address flush dev eth0")
            let wiretap = try Wiretap(lab, host: "client")
            try await lab.start("client")
            for target in ["203.0.113.10", "2001:db8:f::10"] {
                try await lab.run("client", "ping -n -c2 -i0.1 -W20 \(target)")
            }
            let ours = wiretap.packets().filter { $0.isUDP && $0.destinationPort == 4433 }
            #expect(!ours.isEmpty)
            #expect(ours.allSatisfy { $0.destination.isV4 == (family == 4) })
            let lines = [
                "address replace 198.51.100.10/24 dev eth0",
                "address replace 2001:db8:c::10/48 dev eth0 nodad",
                "route replace default via 198.51.100.1 dev eth0",
                "-6 route replace default via 2001:db8:c::1 dev eth0",
            ]
            for line in lines { try await lab.run("client", "ip \(line)") }
            try await lab.expectAnswer(from: "203.0.113.10")
        }
    }
}
