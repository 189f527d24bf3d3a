import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// Where an exit does not go.
    ///
    /// Test matrix rows 47 and 49.
    @Suite("What an exit refuses", .lab())
    struct ExitPolicies {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// Places no client may reach, and is told so.
        private static let refused = [
            "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
            "100.100.100.200", "198.18.1.10", "192.0.2.11", "198.51.100.10", "fc00::1",
            "fe80::1", "fd75:6d62:656c:e::1", "2001:db8:c::10", "2001:db8:101::10",
            "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fec0::1",
        ]
        /// The same, where an answer could harm others: not the address of one host.
        private static let silent = [
            "0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "ff02::1",
            "ff0e::1",
        ]

        private static let port: UInt16 = 9_999
        private static let client4 = SocketAddress(ip: IPAddress(v4: 0x0a6f_0002), port: 4_000)
        private static let client6 = SocketAddress(
            ip: IPAddress(high: 0xfd75_6d62_656c_0000, low: 2),
            port: 4_000
        )
        private static let server = [
            SocketAddress(ip: IPAddress(v4: 0xcb00_710a), port: port),
            SocketAddress(ip: IPAddress(high: 0x2001_0db8_000f_0000, low: 0x10), port: port),
        ]

        /// Where relays register and fetch the directory, over TCP, an exit too; no test sends there.
        private static let authority = SocketAddress(ip: IPAddress(v4: 0xc000_020b), port: 7_000)

        private static func client(for address: IPAddress) -> SocketAddress {
            address.isV4 ? client4 : client6
        }

        private func ownAddresses(of exit: String) -> [String] {
            exit == "e1"
                ? ["198.19.7.10", "2001:db8:107::10"] : ["198.19.8.10", "2001:db8:108::10"]
        }

        /// Hears datagrams that reach the port of these tests on any address of `host`.
        private func listener(on host: String) throws -> NativeSocket {
            let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue)
            let socket = try NativeSocket(lab, host: host, family: AF_INET6, type: type)
            try socket.bind(
                to: SocketAddress(ip: IPAddress(high: 0, low: 0), port: Self.port)
            )
            return socket
        }

        @Test("row 47: nets that are not the internet are refused aloud, and nothing goes there")
        func reserved() async throws {
            try await lab.connect()
            let exit = try #require(try await lab.status().exit).nickname
            let wiretap = try Wiretap(lab, host: exit)
            let listener = try listener(on: exit)
            let tunnel = try TunnelInjector(lab, host: "client", interface: "umbel0")
            let song = Canary.song

            // What is allowed passes, so what passes is seen; and so is what reaches the exit.
            for server in Self.server {
                tunnel.send(song, from: Self.client(for: server.ip), to: server)
            }
            try await eventually("allowed packets leave the exit") {
                wiretap.hasHeard(Self.server)
            }
            let own = try ownAddresses(of: exit).map { try #require(IPAddress($0)) }
            for address in own {
                let family = address.isV4 ? AF_INET : AF_INET6
                let type = Int32(SOCK_DGRAM.rawValue)
                let stranger = try NativeSocket(lab, host: "stranger", family: family, type: type)
                stranger.send(song, to: SocketAddress(ip: address, port: Self.port))
                var buffer = [UInt8](repeating: 0, count: 100)
                try await eventually("the listener hears") {
                    recv(listener.descriptor, &buffer, buffer.count, 0) == song.count
                }
            }
            wiretap.clear()

            let refused = try Self.refused.map { try #require(IPAddress($0)) } + own
            let silent = try Self.silent.map { try #require(IPAddress($0)) }
            var told: Set<IPAddress> = []
            try await eventually("each refusal is said: \(told)") {
                for address in refused + silent where !told.contains(address) {
                    let target = SocketAddress(ip: address, port: Self.port)
                    tunnel.send(song, from: Self.client(for: address), to: target)
                }
                told.formUnion(tunnel.answers().compactMap(\.prohibitedDestination))
                return told.isSuperset(of: refused)
            }
            #expect(told.isDisjoint(with: silent))
            try await expectNothingPassed(wiretap, tunnel)
            var buffer = [UInt8](repeating: 0, count: 100)
            #expect(recv(listener.descriptor, &buffer, buffer.count, 0) < 0)
        }

        /// Sends a last packet that is allowed: once it is seen, all before it have been judged.
        private func expectNothingPassed(
            _ wiretap: Wiretap,
            _ tunnel: borrowing TunnelInjector
        ) async throws {
            for server in Self.server {
                tunnel.send(Canary.song, from: Self.client(for: server.ip), to: server)
            }
            try await eventually("the last packet leaves the exit") {
                wiretap.hasHeard(Self.server)
            }
            let others = wiretap.packets().filter { packet in
                let target = SocketAddress(ip: packet.destination, port: packet.destinationPort)
                let isRelays = packet.isUDP && [packet.sourcePort, target.port].contains(4_433)
                let isErrand = !packet.isUDP && target == Self.authority
                return !Self.server.contains(target) && !isRelays && !isErrand
                    && !packet.isNeighbourDiscovery
            }
            #expect(others.map(\.text) == [])
        }

        @Test("row 47: mail is not carried, but to a net that is open")
        func mail() async throws {
            try await lab.connect()
            let exit = try #require(try await lab.status().exit).nickname
            let wiretap = try Wiretap(lab, host: exit)
            // A public address that is nowhere in the lab, and the server, whose net is open.
            let nowhere = "45.10.0.1"
            for (address, port, passes) in [
                (nowhere, 80, true), (nowhere, 25, false), ("203.0.113.10", 25, true),
            ] {
                _ = try await lab.outcome(
                    "client",
                    ["curl", "-sS", "--max-time", "5", "http://\(address):\(port)/"]
                )
                let hasPassed = wiretap.packets().contains {
                    $0.transport == 6 && $0.destinationPort == UInt16(port)
                }
                #expect(hasPassed == passes, "\(address) port \(port)")
            }
        }

        @Test("row 49: packets that claim another source than the tunnel's address go nowhere")
        func spoofed() async throws {
            try await lab.connect()
            let exit = try #require(try await lab.status().exit).nickname
            let wiretap = try Wiretap(lab, host: exit)
            let tunnel = try TunnelInjector(lab, host: "client", interface: "umbel0")
            let claims = [
                "10.111.0.1", "10.111.0.3", "100.64.0.1", "203.0.113.66", "198.51.100.10",
                "127.0.0.1", "fd75:6d62:656c::1", "fd75:6d62:656c::3", "fd75:6d62:656c:e::1",
                "2001:db8:c::10", "::1",
            ]
            for text in claims {
                let claim = try #require(IPAddress(text))
                for server in Self.server where server.ip.isV4 == claim.isV4 {
                    let target = SocketAddress(ip: server.ip, port: 666)
                    tunnel.send(Canary.song, from: SocketAddress(ip: claim, port: 666), to: target)
                }
            }
            try await expectNothingPassed(wiretap, tunnel)
        }
    }
}
