import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

/// What a test says of one relay; everything else is filled in so that no rule applies.
struct SampleRelay {
    var flags: RelayFlags = []
    var weight: UInt32 = 1_000
    var country: String?
    var system: UInt32 = 0
    var family: Int?
    /// The third byte of 198.18.x.0/24; `nil` for one of its own.
    var subnet: UInt32?
    var hasV4 = true
    var hasV6 = false
    var policy = DescribedPolicy.standard

    static let guardOnly = Self(flags: .guardCapable)
    static let exitOnly = Self(flags: .exit)
    static let both = Self(flags: [.guardCapable, .exit])
    static let plain = Self()

    static func exit(in country: String) -> Self {
        Self(flags: .exit, country: country)
    }
}

/// Views of networks made of ``SampleRelay``, signed by one authority.
struct SampleRelays {
    static let start = WallTime(seconds: 1_800_000_000)
    static let network = NetworkID(SHA256.digest(Array("paths".utf8)))

    static func key(_ name: String, _ index: Int) -> Ed25519.SigningKey {
        let seed = SHA256.digest(Array("\(name) \(index)".utf8))
        return Ed25519.SigningKey(seed: Secret(copying: seed.bytes))
    }

    static func id(_ index: Int) -> NodeID {
        NodeID(key("relay", index).publicKey)
    }

    /// The view of a network of `relays`; those of `absent` are left out, the others keep identity.
    static func view(
        _ relays: [SampleRelay],
        absent: Set<Int> = [],
        at time: WallTime = start,
        _ change: (inout NetworkParameters) -> Void = { _ in }
    ) throws -> NetworkView {
        var parameters = NetworkParameters.lab
        change(&parameters)
        let descriptors = try relays.enumerated().filter { !absent.contains($0.offset) }.map {
            try SignedDescriptor(
                signing: descriptor($0.element, $0.offset, at: time),
                with: key("relay", $0.offset)
            )
        }
        let outcome = try ConsensusBuilder(
            network: network,
            parameters: parameters,
            validAfter: time
        ).body(from: descriptors)
        try #require(outcome.omissions.isEmpty)
        let authority = key("authority", 0)
        let root = try TrustRoot(
            network: network,
            threshold: 1,
            authorities: [.init(index: 0, key: authority.publicKey, name: "only")]
        )
        let document = try ConsensusDocument(body: outcome.body)
        let signed = try document.adding(document.signature(by: 0, with: authority))
        return try root.verify(signed, at: time)
    }

    private static func descriptor(
        _ relay: SampleRelay,
        _ index: Int,
        at time: WallTime
    ) throws -> Descriptor {
        let third = relay.subnet ?? 0
        // A /20 each, or in large networks a /24.
        let net = index < 4_000 ? UInt32(index + 1) << 12 : 0x0100_0000 | UInt32(index + 1) << 8
        let own = relay.subnet == nil ? net : third << 8 | UInt32(index + 1)
        let six = UInt64(relay.subnet ?? UInt32(index) + 1_000) << 16
        let id = id(index)
        return Descriptor(
            network: network,
            id: id,
            circuitKey: [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 1216),
            circuitKeyExpiryMinute: time.minute + 60,
            publishedMinute: time.minute,
            addresses: try RelayAddresses(
                v4: relay.hasV4
                    ? SocketAddress(
                        ip: IPAddress(v4: (relay.subnet == nil ? 0x0a00_0000 : 0xc612_0000) + own),
                        port: 4433
                    ) : nil,
                v6: relay.hasV6
                    ? SocketAddress(
                        ip: IPAddress(high: 0x2001_0db8_0000_0000 | six, low: UInt64(index + 1)),
                        port: 4433
                    ) : nil
            ),
            flags: relay.flags,
            bandwidthKilobits: relay.weight,
            country: relay.country.flatMap { CountryCode($0) },
            autonomousSystem: relay.system,
            policy: relay.flags.contains(.exit) ? relay.policy : .none,
            family: relay.family.map {
                Descriptor.FamilyCertificate(
                    certifying: id,
                    in: network,
                    with: key("family", $0)
                )
            },
            nickname: "relay-\(index)"
        )
    }
}

/// A generator for the product's draws or the tests' own, the same in every run.
func randomGenerator(_ seed: String) -> RandomGenerator {
    RandomGenerator(seed: Secret(copying: SHA256.digest(Array(seed.utf8)).bytes))
}

extension Instant {
    static func seconds(_ count: UInt64) -> Self {
        Self(nanoseconds: count * 1_000_000_000)
    }
}
