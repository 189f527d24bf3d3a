public import Base

/// Addresses an exit never carries packets to unless its operator opens them, by family.
///
/// Private, shared, link-local, metadata, documentation, benchmark, multicast and reserved ranges,
/// and the IPv6 ranges that carry an IPv4 address inside. Spec: test matrix row 47.
public enum ReservedNetworks {
    /// The IPv4 ranges.
    public static let v4: [String] = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    ]

    /// The IPv6 ranges; `::ffff:0:0/96` is IPv4 in IPv6 clothes.
    public static let v6: [String] = [
        "::/128", "::1/128", "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48",
        "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    ]

    /// Whether a packet to `address` is refused.
    public static func contain(_ address: IPAddress) -> Bool {
        // An IPv4 address is held v4-mapped, so only the IPv4 list may speak about it.
        (address.isV4 ? v4 : v6).contains { IPNetwork($0)?.contains(address) == true }
    }
}

/// A named nftables set of networks of one family, written inside a table's body.
struct AddressSet {
    var name: String
    var isV4: Bool
    var elements: [String]

    /// The set as nft reads it; an empty set has no elements clause.
    var text: String {
        let list = elements.isEmpty ? "" : " elements = { \(elements.joined(separator: ", ")) };"
        let type = isV4 ? "ipv4_addr" : "ipv6_addr"
        return "set \(name) { type \(type); flags interval; auto-merge;\(list) }"
    }

    /// The two sets `name4` and `name6` of `networks`.
    static func pair(_ name: String, _ networks: [IPNetwork]) -> [AddressSet] {
        [true, false].map { isV4 in
            AddressSet(
                name: name + (isV4 ? "4" : "6"),
                isV4: isV4,
                elements: networks.filter { $0.base.isV4 == isV4 }.map(\.description)
            )
        }
    }
}
