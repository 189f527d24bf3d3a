import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

@Suite("Descriptors")
struct DescriptorTests {
    let sample: SampleNetwork

    init() throws {
        sample = try SampleNetwork()
    }

    @Test("what is read and written again is the same bytes and verifies", arguments: 0..<16)
    func canonical(index: Int) throws {
        let signed = try sample.signed(sample.descriptor(index), index)
        let parsed = try SignedDescriptor(parsing: signed.encoded())
        #expect(parsed == signed)
        #expect(parsed.encoded() == signed.encoded())
        try parsed.verify(network: sample.network)
    }

    @Test("one cut short anywhere is refused or does not verify")
    func truncated() throws {
        let bytes = try sample.signed(sample.descriptor(15), 15).encoded()
        for count in 0..<bytes.count {
            #expect(throws: DirectoryError.self) {
                try SignedDescriptor(parsing: Array(bytes[..<count]))
                    .verify(network: sample.network)
            }
        }
        let body = bytes.dropLast(64)
        for count in 0..<body.count {
            #expect(throws: WireError.self) { try Descriptor(parsing: Array(body[..<count])) }
        }
    }

    @Test("one with any byte changed is refused or does not verify")
    func everyByte() throws {
        let bytes = try sample.signed(sample.descriptor(15), 15).encoded()
        for index in bytes.indices {
            var mutated = bytes
            mutated[index] ^= 1 << UInt8(index % 8)
            guard let parsed = try? SignedDescriptor(parsing: mutated) else { continue }
            #expect(parsed.encoded() == mutated)
            #expect(throws: DirectoryError.self) { try parsed.verify(network: sample.network) }
        }
    }

    @Test("an exit's further addresses are part of it: each once, at most 16, and only of exits")
    func exitAddresses() throws {
        var descriptor = try sample.descriptor(15)
        descriptor.flags = [.exit]
        descriptor.policy = .standard
        let plain = try descriptor.encoded()
        let addresses = (1...16).map { IPAddress(v4: 0x0909_0900 + UInt32($0)) }
        descriptor.exitAddresses = addresses
        let bytes = try descriptor.encoded()
        #expect(bytes.count == plain.count + 1 + 16 * 16)
        #expect(bytes.count <= Descriptor.maximumByteCount)
        #expect(try Descriptor(parsing: bytes).exitAddresses == addresses)
        for count in plain.count + 1..<bytes.count {
            #expect(throws: WireError.self) { try Descriptor(parsing: Array(bytes[..<count])) }
        }
        // None are written as nothing.
        #expect(throws: WireError.self) { try Descriptor(parsing: plain + [0]) }
        descriptor.exitAddresses = addresses + [IPAddress(v4: 1)]
        #expect(throws: WireError.self) { try descriptor.encoded() }
        descriptor.exitAddresses = [addresses[0], addresses[0]]
        #expect(throws: WireError.self) { try descriptor.encoded() }
        descriptor.exitAddresses = addresses
        descriptor.flags = [.guardCapable]
        descriptor.policy = .none
        #expect(throws: WireError.self) { try descriptor.encoded() }
    }

    @Test("one for another network is refused")
    func otherNetwork() throws {
        let signed = try sample.signed(sample.descriptor(1), 1)
        #expect(throws: DirectoryError.self) { try signed.verify(network: NetworkID(.zero)) }
    }

    @Test("nobody signs for another relay")
    func otherKey() throws {
        let descriptor = try sample.descriptor(1)
        #expect(throws: DirectoryError.descriptor(descriptor.id, .otherKey)) {
            try sample.signed(descriptor, 2)
        }
    }

    @Test("a family certificate made for another relay is refused")
    func borrowedFamily() throws {
        var descriptor = try sample.descriptor(1)
        descriptor.family = try sample.descriptor(5).family
        #expect(descriptor.family != nil)
        let signed = try sample.signed(descriptor, 1)
        #expect(throws: DirectoryError.descriptor(descriptor.id, .badFamilySignature)) {
            try signed.verify(network: sample.network)
        }
    }

    @Test("fields out of bounds are refused before they are signed")
    func bounds() throws {
        let changes: [(inout Descriptor) -> Void] = [
            { $0.nickname = "" }, { $0.nickname = "twenty-letters-long-" },
            { $0.nickname = "two words" }, { $0.nickname = "umläut" },
            { $0.contact = String(repeating: "x", count: 129) }, { $0.contact = "a\u{1b}[2J" },
            { $0.circuitKey.removeLast() }, { $0.policy = .standard },
            { $0.flags = [.exit] }, { $0.flags = [.guardCapable, .exitsIPv6] },
            {
                $0.flags = .exit
                $0.policy = .rules([])
            },
        ]
        for change in changes {
            var descriptor = try sample.descriptor(1)
            change(&descriptor)
            #expect(throws: DirectoryError.self) { try sample.signed(descriptor, 1) }
        }
    }

    @Test(
        "addresses nobody can answer at are refused",
        arguments: [
            ("0.0.0.0:1", nil), ("127.0.0.1:1", nil), ("224.0.0.1:1", nil), ("192.0.2.1:0", nil),
            (nil, "[::]:1"), (nil, "[::1]:1"), (nil, "[ff02::1]:1"), (nil, "[2001:db8::1]:0"),
            (nil, nil), ("[2001:db8::1]:1", nil), (nil, "192.0.2.1:1"),
        ] as [(String?, String?)]
    )
    func addresses(v4: String?, v6: String?) {
        #expect(throws: WireError.self) {
            try RelayAddresses(
                v4: v4.flatMap { SocketAddress($0) },
                v6: v6.flatMap { SocketAddress($0) }
            )
        }
    }

    @Test("a policy says which ports it may accept")
    func policies() throws {
        let everywhere = try #require(IPNetwork("::/0"))
        let narrow = try #require(IPNetwork("198.51.100.0/24"))
        #expect(!DescribedPolicy.none.mayAccept(port: 443, transport: .tcp))
        #expect(DescribedPolicy.standard.mayAccept(port: 53, transport: .udp))
        #expect(!DescribedPolicy.standard.mayAccept(port: 25, transport: .tcp))
        #expect(DescribedPolicy.web.mayAccept(port: 443, transport: .udp))
        #expect(!DescribedPolicy.web.mayAccept(port: 22, transport: .tcp))
        let rules = DescribedPolicy.rules([
            PolicyRule(accepts: false, transport: .tcp, network: everywhere, ports: 25...25),
            PolicyRule(accepts: false, transport: nil, network: narrow, ports: 0...65_535),
            PolicyRule(accepts: true, transport: .tcp, network: narrow, ports: 20...30),
        ])
        #expect(!rules.mayAccept(port: 25, transport: .tcp))
        #expect(rules.mayAccept(port: 22, transport: .tcp))
        #expect(!rules.mayAccept(port: 22, transport: .udp))
    }

    @Test("names for people are short and fixed")
    func names() throws {
        let id = NodeID(try #require(Bytes32(hex: String(repeating: "0f", count: 32))))
        #expect(id.description == "0f0f0f0f")
        #expect(CountryCode("de")?.description == "DE")
        #expect(CountryCode("D1") == nil)
        #expect(CountryCode("DEU") == nil)
        #expect(FamilyID(high: 0, low: 0) == nil)
        #expect(FamilyID(high: 0x0000_00ab_0000_0000, low: 0)?.description == "000000ab")
    }
}
