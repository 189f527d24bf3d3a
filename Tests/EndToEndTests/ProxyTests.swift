import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// Programs that speak SOCKS or HTTP: `umbel proxy`.
    @Suite("umbel proxy", .lab())
    struct Proxies {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// A proxy on the client, once it takes connections.
        private func start(_ arguments: String...) async throws -> BackgroundProgram {
            let proxy = try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "proxy", "--socket", lab.socket("client")] + arguments
            )
            try await eventually("the proxy is ready: \(proxy.output)") {
                proxy.output.contains("ready") || proxy.output.contains("schema")
                    || !proxy.isRunning
            }
            try #require(proxy.isRunning, "\(proxy.output)")
            return proxy
        }

        private func curl(_ arguments: String...) async throws -> CommandRunner.Outcome {
            try await lab.outcome("client", ["curl", "-sS", "--max-time", "20"] + arguments)
        }

        private func end(_ proxy: BackgroundProgram) async throws {
            proxy.send(SIGTERM)
            #expect(try await proxy.status() == 0, "\(proxy.output)")
            try await eventually("no tunnel outlives the proxy") {
                try await lab.status().tunnels.isEmpty
            }
        }

        @Test("SOCKS and HTTP, names and both families: all by the exit, nothing beside it")
        func ways() async throws {
            try await lab.disconnect()
            let proxy = try await start("--exit", "DE", "--json")
            #expect(proxy.output.contains("\"127.0.0.1:1080\""))
            let wiretap = try Wiretap(lab, host: "client")
            wiretap.clear()
            let name = "http://www.umbel.test/"
            for way in [
                ["--socks5-hostname", "127.0.0.1:1080", name],
                ["--socks5-hostname", "[::1]:1080", name],
                ["--socks5", "127.0.0.1:1080", "http://203.0.113.10/"],
                ["--socks5", "127.0.0.1:1080", "http://[2001:db8:f::10]/"],
                ["--proxy", "http://127.0.0.1:1080", name],
                ["--proxy", "http://127.0.0.1:1080", "--proxytunnel", name],
            ] {
                let answer = try await lab.outcome(
                    "client",
                    ["curl", "-sS", "--max-time", "20"] + way
                )
                #expect(answer.status == 0, "\(way) \(answer.message)")
                let source = answer.output.split(separator: " ").first ?? ""
                #expect(["198.19.7.10", "2001:db8:107::10"].contains(source), "\(answer.output)")
            }
            let nobody = try await curl("--socks5-hostname", "127.0.0.1:1080", "http://no.test/")
            #expect(nobody.status == 97, "\(nobody.message)")
            let closed = try await curl("--socks5", "127.0.0.1:1080", "http://203.0.113.10:81/")
            #expect(closed.status == 97, "\(closed.message)")
            #expect(wiretap.leaks().map(\.text) == [])
            try await end(proxy)
            try await lab.connect()
        }

        @Test("each pair of credentials has a circuit of its own, and keeps it")
        func isolation() async throws {
            try await lab.disconnect()
            let proxy = try await start("--port", "1081")
            func users() async throws -> Set<UInt64> {
                let active = try await lab.circuits().filter { $0.state == .active }
                return Set(active.compactMap { $0.tunnel?.rawValue })
            }
            #expect(try await users().count == 1)
            for _ in 0..<2 {
                for pair in ["alice:1", "alice:2", "bob:1"] {
                    let answer = try await curl(
                        "--socks5-hostname",
                        "\(pair)@127.0.0.1:1081",
                        "http://www.umbel.test/"
                    )
                    #expect(answer.status == 0, "\(answer.message)")
                }
                #expect(try await users().count == 4)
            }
            let web = try await curl(
                "--proxy",
                "http://carol:1@127.0.0.1:1081",
                "http://www.umbel.test/"
            )
            #expect(web.status == 0)
            #expect(try await users().count == 5)
            try await end(proxy)
            try await lab.connect()
        }

        @Test("a proxy goes on when the daemon is back, and until then lets nothing out")
        func restart() async throws {
            try await lab.disconnect()
            let proxy = try await start()
            let wiretap = try Wiretap(lab, host: "client")
            wiretap.clear()
            try await lab.kill("client")
            let url = "http://203.0.113.10/"
            #expect(try await curl("--socks5", "127.0.0.1:1080", url).status != 0)
            #expect(wiretap.leaks().map(\.text) == [])
            try await lab.start("client")
            try await eventually("the proxy serves again") {
                try await curl("--socks5", "127.0.0.1:1080", url).status == 0
            }
            try await lab.disconnect()
            try await end(proxy)
            try await lab.connect()
        }

        @Test("UDP ASSOCIATE carries datagrams, for as long as its connection lasts")
        func datagrams() async throws {
            let proxy = try await start()
            let stream = Int32(SOCK_STREAM.rawValue)
            let control = try NativeSocket(lab, host: "client", family: AF_INET, type: stream)
            control.setLimit(seconds: 20)
            try control.connect(to: try #require(SocketAddress("127.0.0.1:1080")))
            func say(_ bytes: [UInt8], expecting count: Int) throws -> [UInt8] {
                #expect(send(control.descriptor, bytes, bytes.count, 0) == bytes.count)
                var answer = [UInt8](repeating: 0, count: count)
                try #require(
                    recv(control.descriptor, &answer, count, Int32(MSG_WAITALL)) == count
                )
                return answer
            }
            #expect(try say([5, 1, 0], expecting: 2) == [5, 0])
            let bound = try say([5, 3, 0, 1, 0, 0, 0, 0, 0, 0], expecting: 10)
            #expect(Array(bound.prefix(8)) == [5, 0, 0, 1, 127, 0, 0, 1])
            let port = UInt16(bound[8]) << 8 | UInt16(bound[9])
            let relay = SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: port)
            let datagrams = try NativeSocket(
                lab,
                host: "client",
                family: AF_INET,
                type: Int32(SOCK_DGRAM.rawValue)
            )
            datagrams.setLimit(seconds: 2)
            func echo(_ target: [UInt8]) -> [UInt8] {
                var answer = [UInt8](repeating: 0, count: 100)
                for _ in 0..<10 {
                    datagrams.send([0, 0, 0] + target + Array("echo".utf8), to: relay)
                    let count = recv(datagrams.descriptor, &answer, answer.count, 0)
                    if count > 0 { return Array(answer.prefix(count)) }
                }
                return []
            }
            let v4: [UInt8] = [1, 203, 0, 113, 10, 0, 7]
            #expect(echo(v4) == [0, 0, 0] + v4 + Array("echo".utf8))
            let v6: [UInt8] = [4] + (try #require(IPAddress("2001:db8:f::10"))).bytes + [0, 7]
            #expect(echo(v6) == [0, 0, 0] + v6 + Array("echo".utf8))
            let name: [UInt8] = [3, 14] + Array("www.umbel.test".utf8) + [0, 7]
            #expect(echo(name).suffix(4) == Array("echo".utf8)[...])

            // Somebody else's datagrams are not taken, though they come from this machine.
            let other = try NativeSocket(
                lab,
                host: "client",
                family: AF_INET,
                type: Int32(SOCK_DGRAM.rawValue)
            )
            other.setLimit(seconds: 2)
            other.send([0, 0, 0] + v4 + [1], to: relay)
            var byte: UInt8 = 0
            #expect(recv(other.descriptor, &byte, 1, 0) == -1)
            try await end(proxy)
        }

        @Test("a port in use, and no daemon, are said and have their status")
        func refusals() async throws {
            let proxy = try await start()
            let second = try await lab.umbel("proxy")
            #expect(second.status == 69)
            #expect(second.message.contains("hint: umbel proxy --port 1081"))
            try await end(proxy)
            let alone = try await lab.outcome(
                "client",
                [Lab.umbel, "proxy", "--socket", "/nonexistent"]
            )
            #expect(alone.status == 69)
        }
    }
}
