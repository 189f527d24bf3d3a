public import Base

/// The addresses an exit leases, by number: lease n has each pool's address n + 2.
///
/// Spec: design §4; protocol §C.4, OPEN_TUN.
public struct LeasePool: Hashable, Sendable {
    /// Where the IPv4 addresses come from.
    public let v4: IPNetwork
    /// Where the IPv6 addresses come from; `nil` where the exit carries none.
    public let v6: IPNetwork?
    /// Leases there are.
    public let capacity: Int

    /// Takes addresses from these networks.
    ///
    /// - Precondition: each is of its family, and has `capacity` addresses besides its first two
    ///   and its last; there are at most 2^22.
    public init(v4: IPNetwork, v6: IPNetwork?, capacity: Int) {
        precondition(capacity > 0 && capacity <= 1 << 22, "capacity out of range")
        precondition(
            v4.base.isV4 && v4.prefixBitCount >= 104
                && capacity + 3 <= Self.addressCount(of: v4),
            "IPv4 pool too small"
        )
        precondition(
            v6.map { !$0.base.isV4 && capacity + 3 <= Self.addressCount(of: $0) } ?? true,
            "IPv6 pool too small"
        )
        self.v4 = v4
        self.v6 = v6
        self.capacity = capacity
    }

    /// Leases that all of `networks` have addresses for, at most `limit`.
    public static func capacity(of networks: [IPNetwork], atMost limit: Int) -> Int {
        networks.reduce(limit) { min($0, addressCount(of: $1) - 3) }
    }

    /// Addresses of a network, at most 2^32.
    private static func addressCount(of network: IPNetwork) -> Int {
        1 << min(32, 128 - network.prefixBitCount)
    }

    /// The addresses of lease `number`.
    public func addresses(of number: UInt32) -> AddressPair {
        AddressPair(
            v4: IPAddress(high: v4.base.high, low: v4.base.low + UInt64(number) + 2),
            v6: v6.map { IPAddress(high: $0.base.high, low: $0.base.low + UInt64(number) + 2) }
        )
    }

    /// The lease whose address this is; `nil` for all other addresses.
    public func number(of address: IPAddress) -> UInt32? {
        guard let pool = address.isV4 ? v4 : v6, address.high == pool.base.high,
            address.low >= pool.base.low + 2, address.low - pool.base.low - 2 < UInt64(capacity)
        else { return nil }
        return UInt32(truncatingIfNeeded: address.low - pool.base.low - 2)
    }
}
