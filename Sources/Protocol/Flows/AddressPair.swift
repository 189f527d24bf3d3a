public import Base

/// An IPv4 and an IPv6 address that go together.
public struct AddressPair: Hashable, Sendable, BitwiseCopyable {
    /// The IPv4 address.
    public let v4: IPAddress
    /// The IPv6 address; `nil` where the exit carries none.
    public let v6: IPAddress?

    /// Pairs the two.
    ///
    /// - Precondition: each is of its family.
    public init(v4: IPAddress, v6: IPAddress?) {
        precondition(v4.isV4 && v6?.isV4 != true, "addresses of the wrong family")
        self.v4 = v4
        self.v6 = v6
    }

    /// The two addresses inside every tunnel, the same for every client (design §4).
    public enum Tunnel {
        /// The client's: 10.111.0.2 and fd75:6d62:656c::2.
        public static let client = AddressPair(
            v4: IPAddress(v4: 0x0a6f_0002),
            v6: IPAddress(high: 0xfd75_6d62_656c_0000, low: 2)
        )
        /// The resolver's, and the one the exit answers from: 10.111.0.1 and fd75:6d62:656c::1.
        public static let resolver = AddressPair(
            v4: IPAddress(v4: 0x0a6f_0001),
            v6: IPAddress(high: 0xfd75_6d62_656c_0000, low: 1)
        )
    }
}
