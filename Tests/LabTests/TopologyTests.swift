import Base
import Foundation
import Testing

@testable import umbel_lab

@Suite("Topologies as text")
struct TopologyTests {
    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Topology").path

    @Test("the default lab is what the drawing shows")
    func defaultLab() throws {
        let lab = try TopologyReader.read(file: "\(Self.folder)/lab.yaml")
        let count = { (role: Topology.Role) in lab.hosts.filter { $0.role == role }.count }
        #expect(count(.authority) == 4)
        #expect(count(.relay) == 10)
        #expect(count(.client) == 1)
        #expect(count(.internet) == 1)
        #expect(lab.threshold == 3)
        let exits = lab.hosts.filter { $0.exit != nil }
        #expect(exits.map(\.name) == ["r7", "r8", "r9", "r10"])
        #expect(exits.map(\.country) == ["DE", "NL", "SE", "PL"])
        #expect(lab.hosts.filter { !$0.startsByItself }.map(\.name) == ["r10"])
        let inet = try #require(lab.host("inet"))
        for exit in exits {
            let allowed = try #require(exit.exit).allowed
            #expect(
                inet.addresses.allSatisfy { address in allowed.contains { $0.contains(address) } }
            )
        }
    }

    @Test("no two relays of the default lab share a /24 or a /48")
    func distinctNets() throws {
        let lab = try TopologyReader.read(file: "\(Self.folder)/lab.yaml")
        let relays = lab.hosts.filter { $0.role == .relay }
        let nets = relays.flatMap { relay in
            relay.addresses.map { IPNetwork($0, prefixBitCount: $0.isV4 ? 120 : 48) }
        }
        #expect(nets.count == 20)
        #expect(Set(nets).count == nets.count)
    }

    @Test("parameters become TOML: numbers and truth values plain, the rest quoted")
    func parameters() throws {
        let lab = try TopologyReader.read(file: "\(Self.folder)/lab.yaml")
        let directory = try #require(lab.parameters.first { $0.name == "directory" })
        #expect(directory.values.first?.value == "\"10s\"")
        let path = try #require(lab.parameters.first { $0.name == "path" })
        #expect(path.values.map(\.value) == ["24", "48", "true", "6", "3", "4"])
        #expect(TOMLText.quoted("a\"b\\c\u{1}\n") == "\"a\\\"b\\\\c\\u0001\\n\"")
    }

    static let small = """
        subnets:
          one: [192.0.2.0/24, 2001:db8:1::/48]
        hosts:
          - {name: a, role: plain, addresses: [192.0.2.10]}

        """

    /// The small topology with `line` at its end.
    static func appended(_ line: String) -> String { small + line }

    /// The small topology with `old` replaced.
    static func replaced(_ old: String, _ new: String) -> String {
        small.replacing(old, with: new)
    }

    static let complaints: [(String, String)] = [
        ("", "t.yaml:1: the file is empty"),
        ("hosts: [", "not YAML"),
        ("subnets: {}\n", "t.yaml:1: `hosts` is missing"),
        (appended("mod: fast\n"), "t.yaml:5: unknown key `mod`; did you mean `mode`?"),
        (appended("colour: red\n"), "unknown key `colour`; there are mode, mtu,"),
        (appended("mode: slow\n"), "t.yaml:5: mode: `slow` is not one of fast, padded, mix"),
        (appended("mtu: 100\n"), "mtu: `100` is not a number in 1280...9000"),
        (
            replaced("192.0.2.10", "192.0.2.1"),
            "t.yaml:4: host a: 192.0.2.1 is the net itself or its router"
        ),
        (replaced("192.0.2.10", "192.0.3.9"), "host a: no subnet holds all its"),
        (replaced("192.0.2.10", "192.0.2"), "host a, addresses: `192.0.2` is not an"),
        (replaced("192.0.2.0/24", "10.0.0.0/24"), "10.0.0.0/24 is not of the document"),
        (replaced("192.0.2.0/24", "192.0.2.0/30"), "too small for a router"),
        (
            replaced("2001:db8:1::/48", "192.0.2.64/26"),
            "192.0.2.64/26 overlaps 192.0.2.0/24"
        ),
        (replaced("name: a", "name: core"), "`core` is not a name of 1 to 10"),
        (replaced("name: a", "name: A"), "`A` is not a name"),
        (replaced("role: plain", "role: guard"), "`guard` is not one of authority, rel"),
        (
            appended("  - {name: a, role: plain, addresses: [192.0.2.11]}\n"),
            "t.yaml:5: host a: the name is taken"
        ),
        (
            appended("  - {name: b, role: plain, addresses: [192.0.2.10]}\n"),
            "t.yaml:5: host b: another host has the address 192.0.2.10"
        ),
        (
            appended("  - {name: b, role: plain, adresses: [192.0.2.11]}\n"),
            "unknown key `adresses`; did you mean `addresses`?"
        ),
        (
            appended("  - {name: b, role: relay, addresses: [192.0.2.11]}\n"),
            "relays need authorities"
        ),
        (
            appended("  - {name: b, role: client, addresses: [192.0.2.11]}\n"),
            "a client needs at least three relays, there are 0"
        ),
        (
            appended("  - {name: b, role: plain, addresses: [192.0.2.11], exit: {}}\n"),
            "host b, exit: only a relay can be an exit"
        ),
        (
            appended("  - {name: b, role: plain, addresses: [192.0.2.11], link: {loss: 101%}}\n"),
            "host b, link, loss: `101%` is not a share such as 5%"
        ),
        (
            appended("  - {name: b, role: plain, addresses: [192.0.2.11], link: {delay: 5}}\n"),
            "`5` is not a time such as 20ms"
        ),
    ]

    @Test(
        "what is wrong is named with its line and what would be right",
        arguments: Self.complaints
    )
    func complain(text: String, complaint: String) {
        let error = #expect(throws: TopologyError.self) {
            try TopologyReader.read(text: text, file: "t.yaml")
        }
        #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
    }

    @Test("the small topology the complaints start from is itself good")
    func smallIsGood() throws {
        let topology = try TopologyReader.read(text: Self.small, file: "t.yaml")
        #expect(topology.hosts.count == 1)
        #expect(topology.mode == .fast)
    }

    @Test("faults read as people write them")
    func faults() {
        #expect(LinkFaults.perMyriad("5%") == 500)
        #expect(LinkFaults.perMyriad("0.25%") == 25)
        #expect(LinkFaults.perMyriad("5") == nil)
        #expect(LinkFaults.perMyriad("-1%") == nil)
        #expect(LinkFaults.microseconds("20ms") == 20_000)
        #expect(LinkFaults.microseconds("250us") == 250)
        #expect(LinkFaults.microseconds("1.5s") == 1_500_000)
        #expect(LinkFaults.microseconds("2m") == nil)
        #expect(LinkFaults.microseconds("61s") == nil)
        #expect(LinkFaults.bitsPerSecond("50mbit") == 50_000_000)
        #expect(LinkFaults.bitsPerSecond("1gbit") == 1_000_000_000)
        #expect(LinkFaults.bitsPerSecond("1kbit") == nil)
        #expect(LinkFaults.bitsPerSecond("nanmbit") == nil)
    }
}
