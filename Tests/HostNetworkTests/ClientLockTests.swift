import Base
import Foundation
import HostNetwork
import Testing

@Suite(
    "A whole machine as client",
    .enabled(if: obstacle == nil, "needs root, ip, nft, socat"),
    .serialized
)
struct ClientLockTests {
    struct Place {
        var client: CommandRunner
        var network: CommandRunner
        var routing: ClientRouting
    }

    /// `client` reaches `lan` by eth0; its tun0 is a cable nobody answers on but the test.
    private func withClient(
        _ body: (Place, TestNetwork) async throws -> Void
    ) async throws {
        try await withFolder { folder in
            try await withNetwork { network in
                let client = try await network.add("client")
                let lan = try await network.add("lan")
                try await network.join(
                    client,
                    "eth0",
                    ["192.168.5.2/24", "2001:db8:5::2/64"],
                    lan,
                    "eth0",
                    ["192.168.5.1/24", "2001:db8:5::1/64", "9.9.9.9/32"]
                )
                try await network.join(client, "tun0", [], lan, "far", ["10.111.0.1/32"])
                for command in [
                    "ip route add default via 192.168.5.1",
                    "ip -6 route add default via 2001:db8:5::1",
                ] {
                    try await client.run(command.split(separator: " ").map(String.init))
                }
                try await network.serveOrigin(lan, at: "9.9.9.9", port: 7_000)
                let routing = ClientRouting(
                    tunnel: "tun0",
                    mtu: 1280,
                    stateFolder: folder,
                    runner: client
                )
                try await body(Place(client: client, network: lan, routing: routing), network)
            }
        }
    }

    private let marked = ",setsockopt-int=1:36:\(TunnelAddresses.mark)"

    @Test("unmarked traffic stops, marked datagrams pass, v4 and v6 (rows 36, 42)")
    func killSwitch() async throws {
        try await withClient { place, _ in
            // The test sees a leak before it says there is none.
            #expect(try await place.client.ask("9.9.9.9:7000").isEmpty == false)
            #expect(try await place.client.ask("[2001:db8:5::1]:7000").isEmpty == false)
            #expect(try await place.client.reaches("9.9.9.9"))
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            #expect(try await place.client.ask("9.9.9.9:7000") == "")
            #expect(try await place.client.ask("[2001:db8:5::1]:7000") == "")
            #expect(try await !place.client.reaches("9.9.9.9"))
            #expect(try await !place.client.reaches("2001:db8:5::1"))
            #expect(try await !place.client.reaches("192.168.5.1"))
            #expect(try await place.client.ask("9.9.9.9:7000", options: marked).isEmpty == false)
            let six = try await place.client.ask("[2001:db8:5::1]:7000", options: marked)
            #expect(six.isEmpty == false)
            #expect(try await place.client.reaches("127.0.0.1"))
            try await ClientLock.remove(with: place.client)
            try await ClientLock.remove(with: place.client)
            #expect(try await place.client.ask("9.9.9.9:7000").isEmpty == false)
        }
    }

    @Test("with the local network allowed it is reached, names are still not asked there (row 43)")
    func localNetwork() async throws {
        try await withClient { place, network in
            try await network.serveOrigin(place.network, at: "192.168.5.1", port: 53)
            #expect(try await place.client.ask("192.168.5.1:53").isEmpty == false)
            var lock = ClientLock(tunnel: "tun0")
            lock.allowsLocalNetwork = true
            try await lock.apply(with: place.client)
            #expect(try await place.client.reaches("192.168.5.1"))
            #expect(try await place.client.ask("192.168.5.1:53") == "")
            #expect(try await place.client.ask("9.9.9.9:7000") == "")
        }
    }

    @Test("a flushed lock is seen, and comes back equal (row 37)")
    func flushed() async throws {
        try await withClient { place, _ in
            let lock = ClientLock(tunnel: "tun0")
            try await lock.apply(with: place.client)
            let listing = try await ClientLock.table.listing(with: place.client)
            #expect(listing?.contains("policy drop") == true)
            try await place.client.run(["nft", "flush", "ruleset"])
            #expect(try await ClientLock.table.listing(with: place.client) == nil)
            try await lock.apply(with: place.client)
            #expect(try await ClientLock.table.listing(with: place.client) == listing)
        }
    }

    @Test("a route handed out by the local network leads nowhere else (row 40)")
    func tunnelVision() async throws {
        try await withClient { place, _ in
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            try await place.routing.apply()
            try await place.client.run(
                ["ip", "route", "add", "9.0.0.0/8", "via", "192.168.5.1"]
            )
            let route = try await place.client.run(["ip", "route", "get", "9.9.9.9"])
            #expect(route.contains("dev tun0"))
            #expect(try await place.client.ask("9.9.9.9:7000") == "")
        }
    }

    @Test("everything unmarked is led into the tunnel, and all is as before afterwards")
    func routing() async throws {
        try await withClient { place, _ in
            let state = {
                var text = ""
                for argv in [
                    ["ip", "-4", "rule"], ["ip", "-6", "rule"],
                    ["ip", "-4", "route", "show", "table", "all", "type", "unicast"],
                    ["sysctl", "net.ipv4.conf.all.arp_ignore"],
                    ["sysctl", "net.ipv4.conf.all.src_valid_mark"],
                ] {
                    text += try await place.client.run(argv)
                }
                return text
            }
            let before = try await state()
            try await place.routing.apply()
            try await place.routing.apply()
            #expect(try await place.routing.isInPlace())
            let get = { (arguments: [String]) in
                try await place.client.run(["ip"] + arguments)
            }
            #expect(try await get(["route", "get", "9.9.9.9"]).contains("dev tun0"))
            #expect(try await get(["-6", "route", "get", "2620:fe::9"]).contains("dev tun0"))
            let mark = ["mark", "\(TunnelAddresses.mark)"]
            #expect(try await get(["route", "get", "9.9.9.9"] + mark).contains("dev eth0"))
            #expect(
                try await get(["-6", "route", "get", "2620:fe::9"] + mark).contains("dev eth0")
            )
            let addresses = try await get(["-brief", "address", "show", "tun0"])
            #expect(addresses.contains("10.111.0.2/32"))
            #expect(addresses.contains("fd75:6d62:656c::2/128"))
            try await place.routing.remove()
            try await place.routing.remove()
            #expect(try await !place.routing.isInPlace())
            try await place.client.run(["ip", "address", "del", "10.111.0.2/32", "dev", "tun0"])
            #expect(try await state() == before)
        }
    }

    @Test("marked replies pass a strict reverse path filter")
    func reversePath() async throws {
        try await withClient { place, _ in
            try await place.client.run(
                [
                    "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1",
                    "net.ipv4.conf.eth0.rp_filter=1",
                ]
            )
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            try await place.routing.apply()
            // socat marks its socket only once it is connected, so its source is given.
            let options = marked + ",bind=192.168.5.2"
            #expect(try await place.client.ask("9.9.9.9:7000", options: options) != "")
            try await place.client.run(["sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=0"])
            #expect(try await place.client.ask("9.9.9.9:7000", options: options) == "")
        }
    }

    @Test("the local network cannot reach the tunnel's address (row 41)")
    func probing() async throws {
        try await withClient { place, _ in
            try await place.network.run(
                ["ip", "route", "add", "10.111.0.2/32", "via", "192.168.5.2"]
            )
            try await place.routing.apply()
            try await place.client.run(
                ["ip", "route", "add", "192.168.5.0/24", "dev", "eth0", "table", "7565"]
            )
            #expect(try await place.network.reaches("10.111.0.2", ["-I", "192.168.5.1"]))
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            #expect(try await !place.network.reaches("10.111.0.2", ["-I", "192.168.5.1"]))
        }
    }
}
