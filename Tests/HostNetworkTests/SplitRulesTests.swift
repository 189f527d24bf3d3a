import Base
import HostNetwork
import Testing

@Suite(
    "What goes beside the tunnel",
    .enabled(if: obstacle == nil, "needs root, ip, nft, socat"),
    .serialized
)
struct SplitRulesTests {
    @Test("The kernel takes the rules, addresses of names are added again, and all of it goes")
    func kernel() async throws {
        try await withNetwork { network in
            let client = try await network.add("client")
            var rules = SplitRules(
                tunnel: "tun0",
                networks: ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7"].compactMap {
                    IPNetwork($0)
                }
            )
            rules.programs = OutsideGroup.Match(expression: "meta cgroup 7")
            try await rules.apply(with: client)
            let addresses = ["203.0.113.10", "2001:db8:f::10"].compactMap { IPAddress($0) }
            for _ in 0..<2 { try await SplitRules.add(addresses, seconds: 600, with: client) }
            let named = try await client.run([
                "nft", "list", "set", "inet", "umbel_split", "named6",
            ])
            #expect(named.contains("2001:db8:f::10"))
            try await rules.apply(with: client)
            let again = try await client.run(["nft", "list", "table", "inet", "umbel_split"])
            #expect(!again.contains("2001:db8:f::10"))
            #expect(again.contains("192.0.2.0/24"))
            for _ in 0..<2 { try await SplitRules.remove(with: client) }
            #expect(try await client.run(["nft", "list", "ruleset"]) == "")
        }
    }

    @Test("A name that is none of an interface is refused", arguments: ["", "a b", "a\"b"])
    func badName(name: String) {
        #expect(throws: HostNetworkError.self) { try SplitRules(tunnel: name).body() }
    }
}
