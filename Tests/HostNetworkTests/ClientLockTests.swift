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

    @Test("a window lets one user's web traffic by, and the kernel closes it on time")
    func loginWindow() async throws {
        try await withClient { place, network in
            for port in [80, 22] {
                try await network.serve(
                    place.network,
                    port: port,
                    ["socat", "TCP-LISTEN:\(port),fork,reuseaddr", "SYSTEM:echo page"]
                )
            }
            try await network.serve(
                place.network,
                port: 53,
                ["socat", "UDP4-RECVFROM:53,fork,bind=192.168.5.1", "SYSTEM:echo name"]
            )
            try await place.client.run(["ip", "address", "replace", "10.111.0.2/32", "dev", "tun0"])
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            try await place.routing.apply()
            let ask = { (user: Int, target: String) in
                try await place.client.outcome(
                    of: [
                        "setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups",
                        "socat", "-T1", "-t1", "-", target,
                    ],
                    input: "ask\n"
                ).output
            }
            // A second may be short for an answer where much else is at work.
            let expectAnswer = { (user: Int, target: String, answer: String) in
                let begin = ContinuousClock.now
                while try await ask(user, target) != answer {
                    try #require(ContinuousClock.now - begin < .seconds(60), "\(target)")
                }
            }
            let web = "TCP:9.9.9.9:80,connect-timeout=1"
            let shell = "TCP:9.9.9.9:22,connect-timeout=1"
            let names = "UDP4:10.111.0.1:53"
            #expect(try await ask(1_000, web) == "")
            let server = try #require(IPAddress("192.168.5.1"))
            var window = LoginWindow(
                tunnel: "tun0",
                user: 1_000,
                seconds: 300,
                resolvers: [server]
            )
            try await window.open(with: place.client)
            try await expectAnswer(1_000, web, "page\n")
            try await expectAnswer(1_000, names, "name\n")
            #expect(try await ask(1_000, shell) == "", "no other port")
            #expect(try await ask(1_001, web) == "", "no other user")
            // A short one takes its place, and nobody who is still there closes it.
            window.seconds = 2
            try await window.open(with: place.client)
            let opened = ContinuousClock.now
            let users = ["nft", "list", "set", "inet", "umbel_login", "users"]
            while try await place.client.run(users).contains("1000") {
                try #require(ContinuousClock.now - opened < .seconds(60))
            }
            #expect(ContinuousClock.now - opened >= .seconds(1), "it was open for its time")
            #expect(try await ask(1_000, web) == "")
            #expect(try await ask(1_000, names) != "name\n")
            window.seconds = 300
            try await window.open(with: place.client)
            try await expectAnswer(1_000, web, "page\n")
            try await LoginWindow.close(with: place.client)
            try await LoginWindow.close(with: place.client)
            #expect(try await ask(1_000, web) == "")
        }
    }

    @Test("a router that announces itself changes nothing of where IPv6 goes (row 39)")
    func routerAdvertisement() async throws {
        try await withClient { place, _ in
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            try await place.routing.apply()
            // What the kernel makes of an advertisement: an address, and routes better than others.
            for line in [
                "address add 2001:db8:bad::2/64 dev eth0 nodad",
                "-6 route add default via 2001:db8:5::1 dev eth0 metric 1",
                "-6 route add 2620:fe::/48 via 2001:db8:5::1 dev eth0",
            ] {
                try await place.client.run(["ip"] + line.split(separator: " ").map(String.init))
            }
            let route = try await place.client.run(["ip", "-6", "route", "get", "2620:fe::9"])
            #expect(route.contains("dev tun0"))
            #expect(try await place.client.ask("[2001:db8:5::1]:7000") == "")
            let bound = ",bind=[2001:db8:bad::2],so-bindtodevice=eth0"
            #expect(try await place.client.ask("[2001:db8:5::1]:7000", options: bound) == "")
        }
    }

    @Test("a network that says a public address is its own gets no packet (row 40, LocalNet)")
    func localNet() async throws {
        try await withClient { place, network in
            // The rogue network takes 9.9.9.0/24 for its own, and answers there.
            try await place.network.run(["ip", "address", "add", "9.9.9.1/24", "dev", "eth0"])
            try await place.client.run(["ip", "address", "add", "9.9.9.2/24", "dev", "eth0"])
            #expect(try await place.client.ask("9.9.9.9:7000").isEmpty == false)
            for allows in [false, true] {
                var lock = ClientLock(tunnel: "tun0")
                lock.allowsLocalNetwork = allows
                try await lock.apply(with: place.client)
                var routing = place.routing
                routing.allowsLocalNetwork = allows
                try await routing.apply()
                #expect(try await place.client.ask("9.9.9.9:7000") == "", "allows: \(allows)")
                #expect(try await !place.client.reaches("9.9.9.1"))
            }
        }
    }

    @Test("who lies about a guard's address gets marked datagrams only (row 40, ServerIP)")
    func serverIP() async throws {
        try await withClient { place, network in
            // Were an address let by because it is a guard's, every program's packets to it were.
            try await network.serveOrigin(place.network, at: "9.9.9.9", port: 4_433)
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            try await place.routing.apply()
            let own = ",bind=192.168.5.2"
            #expect(try await place.client.ask("9.9.9.9:4433", options: own) == "")
            #expect(try await place.client.ask("9.9.9.9:4433", options: marked + own) != "")
        }
    }

    @Test("the local network is told nothing of the tunnel's address: ARP, UDP, SYN (row 41)")
    func answersNobody() async throws {
        try await withClient { place, network in
            try await network.serve(
                place.client,
                port: 9_000,
                ["socat", "TCP4-LISTEN:9000,fork,reuseaddr", "SYSTEM:echo here"]
            )
            try await place.routing.apply()
            try await place.network.run(["ip", "route", "add", "10.111.0.2/32", "dev", "eth0"])
            let knock = {
                // Without an entry of before the kernel asks by ARP first.
                try await place.network.run(["ip", "neigh", "flush", "dev", "eth0"])
                let answer = try await place.network.outcome(
                    of: ["socat", "-T1", "-", "TCP4:10.111.0.2:9000,connect-timeout=1"],
                    input: ""
                )
                let neighbours = try await place.network.run(
                    ["ip", "neigh", "show", "10.111.0.2", "dev", "eth0"]
                )
                return (answer.output, neighbours.contains("lladdr"))
            }
            // Of a machine that does not look after itself the test hears, by ARP and by TCP.
            try await place.client.run(["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0"])
            try await place.client.run(
                ["ip", "route", "add", "192.168.5.0/24", "dev", "eth0", "table", "7565"]
            )
            let before = try await knock()
            #expect(before.0 == "here\n" && before.1)
            try await place.client.run(["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=2"])
            #expect(try await knock() == ("", false))
            // By its hardware address the machine is reached all the same: the lock drops it.
            let link = try await place.client.run(["cat", "/sys/class/net/eth0/address"])
            let address = link.trimmingCharacters(in: .whitespacesAndNewlines)
            let entry = ["10.111.0.2", "lladdr", address, "dev", "eth0", "nud", "permanent"]
            let direct = {
                try await place.network.run(["ip", "neigh", "replace"] + entry)
                return try await place.network.outcome(
                    of: ["socat", "-T1", "-", "TCP4:10.111.0.2:9000,connect-timeout=1"],
                    input: ""
                ).output
            }
            #expect(try await direct() == "here\n")
            try await ClientLock(tunnel: "tun0").apply(with: place.client)
            #expect(try await direct() == "")
        }
    }
}
