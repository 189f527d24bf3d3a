import Base
import Flows
import Testing
import Wire

@Suite("Where an exit lets packets go")
struct ExitPolicyTests {
    private static func policy(allow: [String] = []) throws -> ExitPolicy {
        ExitPolicy(
            allow: try allow.map { try #require(IPNetwork($0)) },
            own: [
                try #require(IPNetwork("8.8.4.4")), try #require(IPNetwork("2a01:4f8::99")),
                try #require(IPNetwork("192.0.2.10")),
            ],
            pools: [
                try #require(IPNetwork("100.64.0.0/16")), try #require(IPNetwork("fd00:1::/64")),
            ]
        )
    }

    private func verdict(
        _ policy: ExitPolicy,
        _ text: String,
        _ port: UInt16? = 443,
        _ protocolNumber: UInt8 = 6
    ) throws -> ExitPolicy.Verdict {
        policy.verdict(
            destination: try #require(IPAddress(text)),
            protocolNumber: protocolNumber,
            port: port
        )
    }

    @Test(
        "every address off the public internet is refused, at both ends of its network",
        arguments: [
            "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0",
            "100.100.100.200", "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255",
            "168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0",
            "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.0.255", "192.0.2.0",
            "192.0.2.255", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0",
            "198.19.255.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255",
            "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
            "::", "::1", "::7f00:1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:100.64.0.1",
            "::ffff:169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::100.64.0.1", "64:ff9b:1::1",
            "64:ff9b:1:ffff::8.8.8.8", "64:ff9b::1:808:808", "100::1", "2001::1",
            "2001:0:7f00:1::f7f7:f7f7", "2001:0:808:808::f5ff:fffe", "2001:2::1", "2001:10::1",
            "2001:20::1", "2001:1ff:ffff::", "2001:db8::", "2001:db8:ffff::1", "2002:a00:1::",
            "2002:7f00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::1", "3fff::1", "3fff:fff::1",
            "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fdff:ffff::1", "fe80::1",
            "febf::1", "fec0::1", "ff02::1", "ff0e::1", "ffff:ffff::1",
        ]
    )
    func refusedAddress(text: String) throws {
        #expect(!ExitPolicy.isPublic(try #require(IPAddress(text))))
        let policy = ExitPolicy(own: [], pools: [])
        #expect(try verdict(policy, text) == .refuse(.address))
        #expect(try verdict(policy, text, nil) == .refuse(.address))
    }

    @Test(
        "the neighbours of refused networks are public",
        arguments: [
            "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
            "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
            "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0",
            "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0",
            "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255",
            "203.0.114.0", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
            "2000::1", "2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "2002:808:808::1",
            "2001:0:808:808::f7f7:f7f7", "2606:4700::1", "3ffe:ffff::1", "3fff:1000::1",
        ]
    )
    func publicAddress(text: String) throws {
        #expect(ExitPolicy.isPublic(try #require(IPAddress(text))))
        #expect(try verdict(ExitPolicy(own: [], pools: []), text) == .accept)
    }

    @Test("the IPv4 predicate agrees with the list of networks at random", arguments: 0..<50)
    func networks(seed: Int) throws {
        let refused = try [
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
            "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
            "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
            "224.0.0.0/4", "240.0.0.0/4",
        ].map { try #require(IPNetwork($0)) }
        var seeded = Seeded(seed)
        for _ in 0..<200 {
            var word = UInt32(truncatingIfNeeded: seeded.next())
            if seeded.chance(2) {
                // Near the edge of some network.
                let base = refused[seeded.int(0...refused.count - 1)].base.v4 ?? 0
                word = base &+ UInt32(seeded.int(0...0x200)) &- 0x100
            }
            let address = IPAddress(v4: word)
            #expect(
                ExitPolicy.isPublic(address) == !refused.contains { $0.contains(address) },
                "\(address)"
            )
        }
    }

    @Test("the exit's own addresses and its clients' are refused, embedded ones too")
    func own() throws {
        let policy = try Self.policy()
        for text in [
            "8.8.4.4", "2a01:4f8::99", "192.0.2.10", "100.64.0.9", "fd00:1::9",
            "64:ff9b::8.8.4.4", "2002:808:404::1", "2001:0:808:404::f7f7:f7f7",
            "64:ff9b::100.64.0.1",
        ] {
            #expect(try verdict(policy, text) == .refuse(.ownAddress), "\(text)")
        }
        #expect(try verdict(policy, "8.8.4.5") == .accept)
    }

    @Test("what the operator allows is open, but own addresses only by name and clients never")
    func allow() throws {
        var policy = try Self.policy(allow: ["192.0.2.0/24", "10.1.0.0/16", "100.64.0.0/10"])
        #expect(try verdict(policy, "192.0.2.9") == .accept)
        #expect(try verdict(policy, "192.0.2.9", 25) == .accept)
        #expect(try verdict(policy, "10.1.2.3", 853) == .accept)
        #expect(try verdict(policy, "10.2.2.3") == .refuse(.address))
        #expect(try verdict(policy, "192.0.2.10") == .refuse(.ownAddress))
        #expect(try verdict(policy, "100.64.0.1") == .refuse(.ownAddress))
        #expect(try verdict(policy, "100.65.0.1") == .accept)
        policy = try Self.policy(allow: ["192.0.2.10", "100.64.0.1"])
        #expect(try verdict(policy, "192.0.2.10") == .accept)
        #expect(try verdict(policy, "100.64.0.1") == .refuse(.ownAddress))
    }

    @Test("SMTP and DNS past the resolver are refused, other ports as the operator says")
    func ports() throws {
        var policy = try Self.policy()
        #expect(try verdict(policy, "9.9.9.9", 25) == .refuse(.port))
        #expect(try verdict(policy, "9.9.9.9", 587) == .accept)
        #expect(try verdict(policy, "9.9.9.9", 53, 17) == .refuse(.resolver))
        #expect(try verdict(policy, "2620:fe::9", 853) == .refuse(.resolver))
        #expect(try verdict(policy, "9.9.9.9", 0) == .refuse(.port))
        policy = ExitPolicy(own: [], pools: [], ports: [80...80, 443...443])
        #expect(try verdict(policy, "9.9.9.9", 443, 17) == .accept)
        #expect(try verdict(policy, "9.9.9.9", 444) == .refuse(.port))
        #expect(try verdict(policy, "9.9.9.9", nil, 1) == .accept)
    }

    @Test("the resolver inside the tunnel answers DNS and nothing else")
    func resolver() throws {
        let policy = try Self.policy(allow: ["10.0.0.0/8"])
        for address in ["10.111.0.1", "fd75:6d62:656c::1"] {
            #expect(try verdict(policy, address, 53, 17) == .dns)
            #expect(try verdict(policy, address, 53, 6) == .dns)
            #expect(try verdict(policy, address, 80) == .refuse(.resolver))
            #expect(try verdict(policy, address, nil, 17) == .refuse(.resolver))
        }
        #expect(try verdict(policy, "10.111.0.1", 53, 1) == .refuse(.resolver))
    }

    private func judge(_ bytes: [UInt8]) throws -> ExitPolicy.Verdict {
        let header = try IPHeader(parsing: bytes.span.bytes, 0..<bytes.count)
        return try Self.policy().verdict(for: 0..<bytes.count, header: header, in: bytes.span.bytes)
    }

    @Test("a packet is judged by its own destination and port")
    func packets() throws {
        for isV6 in [false, true] {
            var tcp = PacketMaker(isV6: isV6)
            #expect(try judge(tcp.bytes) == .accept)
            tcp.destinationPort = 25
            #expect(try judge(tcp.bytes) == .refuse(.port))
            var udp = PacketMaker(isV6: isV6, protocolNumber: 17)
            udp.destinationPort = 53
            #expect(try judge(udp.bytes) == .refuse(.resolver))
            #expect(
                try judge(PacketMaker(isV6: isV6, protocolNumber: 47, payload: [0, 0, 8, 0]).bytes)
                    == .refuse(.protocolNumber)
            )
            #expect(
                try judge(PacketMaker(isV6: isV6, protocolNumber: 132, payload: [0, 1]).bytes)
                    == .refuse(.protocolNumber)
            )
        }
    }

    @Test("of ICMP only echo and errors leave")
    func messages() throws {
        for type in 0...255 as ClosedRange<UInt8> {
            let body = [type] + [UInt8](repeating: 0, count: 7)
            let v4 = try judge(PacketMaker(protocolNumber: 1, payload: body).bytes)
            #expect(v4 == ([0, 3, 8, 11, 12].contains(type) ? .accept : .refuse(.message)))
            let v6 = try judge(PacketMaker(isV6: true, protocolNumber: 58, payload: body).bytes)
            #expect(v6 == ([1, 2, 3, 4, 128, 129].contains(type) ? .accept : .refuse(.message)))
        }
        // The other family's ICMP.
        let body = [UInt8](repeating: 8, count: 8)
        #expect(
            try judge(PacketMaker(protocolNumber: 58, payload: body).bytes)
                == .refuse(.headerHidden)
        )
    }

    @Test("source routes, hidden headers and headers cut short are refused")
    func hidden() throws {
        var routed = PacketMaker()
        routed.ipOptions = [131, 7, 4, 10, 0, 0, 1, 0]
        #expect(try judge(routed.bytes) == .refuse(.sourceRoute))
        routed.ipOptions = [1, 137, 7, 4, 10, 0, 0, 1]
        #expect(try judge(routed.bytes) == .refuse(.sourceRoute))
        routed.ipOptions = [7, 7, 4, 10, 0, 0, 1, 0]
        #expect(try judge(routed.bytes) == .accept)

        var six = PacketMaker(isV6: true).bytes
        six.insert(contentsOf: [6, 0, 2, 1, 0, 0, 0, 0], at: 40)
        six[6] = 43
        six.setWord(4, six.word(4) + 8)
        #expect(try judge(six) == .refuse(.sourceRoute))
        six[43] = 0
        #expect(try judge(six) == .accept)

        var fragment = PacketMaker(protocolNumber: 6, payload: [UInt8](repeating: 0, count: 40))
            .bytes
        for (word, expected) in [
            (0x2000, .accept), (0x2001, .refuse(.headerHidden)), (2, .refuse(.headerHidden)),
            (3, .accept), (0x1000, .accept),
        ] as [(UInt16, ExitPolicy.Verdict)] {
            fragment.setWord(6, word)
            #expect(try judge(fragment) == expected, "\(word)")
        }
        for protocolNumber in [1, 6, 17] as [UInt8] {
            var short = PacketMaker(protocolNumber: 0, payload: [0, 0, 0, 0, 0, 0, 0]).bytes
            short[9] = protocolNumber
            #expect(try judge(short) == .refuse(.headerHidden))
        }
    }

    @Test("no flipped byte and no length makes judging or answering trap", arguments: 0..<300)
    func hostile(seed: Int) {
        var seeded = Seeded(seed)
        var maker = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...40)))
        if seeded.chance(2) {
            maker.protocolNumber = [0, 1, 43, 44, 51, 58, 60][seeded.int(0...6)]
        }
        var bytes = maker.bytes
        for _ in 0..<seeded.int(0...3) {
            bytes[seeded.int(0...min(bytes.count - 1, 50))] = UInt8(seeded.int(0...255))
        }
        let packet = 0..<bytes.count
        guard let header = try? IPHeader(parsing: bytes.span.bytes, packet) else { return }
        let policy = ExitPolicy(own: [], pools: [])
        let verdict = policy.verdict(for: packet, header: header, in: bytes.span.bytes)
        let key = FlowKey(header, in: bytes.span.bytes, packetOffset: 0)
        #expect(key.destination == header.destination)
        if verdict == .accept { #expect(ExitPolicy.isPublic(header.destination)) }
        var arena = bytes + [UInt8](repeating: 0xee, count: ICMPReply.maximumByteCount)
        let answer = arena.withArena {
            ICMPReply.administrativelyProhibited.write(
                answering: packet,
                header: header,
                from: AddressPair.Tunnel.resolver,
                in: &$0,
                to: bytes.count
            )
        }
        if let answer {
            #expect(hasRightChecksums(Array(arena[bytes.count..<bytes.count + answer])))
        }
    }
}
