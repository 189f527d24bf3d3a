import Base
import CryptoPrimitives

/// How many handshakes each network may have worked on while the relay is under load.
///
/// A network is an IPv4 address or an IPv6 /64. Bound: 4,096 allowances, which networks share by a
/// keyed hash, so that a flood from many addresses costs no memory and cannot be aimed at one.
struct SenderLimiter: Sendable {
    private static let count = 4096
    private static let perSecond: UInt64 = 20
    private static let burst: UInt64 = 40

    private let key: [UInt8]
    private var allowances: [TokenBucket]

    init(random: inout RandomGenerator, now: Instant) {
        key = random.bytes(32)
        let full = TokenBucket(perSecond: Self.perSecond, burst: Self.burst, now: now)
        allowances = [TokenBucket](repeating: full, count: Self.count)
    }

    /// Takes one handshake of the network of `address`; false where its allowance is used up.
    mutating func allows(_ address: IPAddress, now: Instant) -> Bool {
        let digest = BLAKE2b.hash(address.network.bytes, key: key, byteCount: 16)
        let place = digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return allowances[Int(place % UInt64(Self.count))].take(now: now)
    }
}
