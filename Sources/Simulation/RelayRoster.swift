public import Base
public import CryptoPrimitives
public import Directory
public import Wire

/// What relays there are in a world.
public struct RelayRoster: Sendable {
    /// A relay with its keys.
    public struct Member: Sendable {
        /// Its identity key.
        public let signingKey: Ed25519.SigningKey
        /// Its circuit key.
        public let circuitKey: XWing.PrivateKey
        /// Where it listens, IPv4.
        public let v4: SocketAddress
        /// Where it listens, IPv6; `nil` where it does not.
        public let v6: SocketAddress?
        /// What it is fit for.
        public let flags: RelayFlags

        /// Its name.
        public var id: NodeID { NodeID(signingKey.publicKey) }
    }

    /// The network's name.
    public let network: NetworkID
    /// The relays: guards first, then those between, then exits.
    public let members: [Member]
    let authorities: [Ed25519.SigningKey]

    /// The keys of the authorities, by index.
    var authorityKeys: [UInt8: Bytes32] {
        var keys: [UInt8: Bytes32] = [:]
        for (index, key) in authorities.enumerated() {
            keys[UInt8(truncatingIfNeeded: index)] = key.publicKey
        }
        return keys
    }

    /// Makes relays of each kind, all with keys from `random`.
    public init(
        guards: Int,
        middles: Int,
        exits: Int,
        listensOnV6: Bool,
        random: inout RandomGenerator
    ) throws {
        network = NetworkID(random.bytes32())
        var members: [Member] = []
        for index in 0..<guards + middles + exits {
            let flags: RelayFlags =
                index < guards
                ? .guardCapable : index < guards + middles ? [] : [.exit, .exitsIPv6]
            let number = UInt64(index + 1)
            members.append(
                Member(
                    signingKey: Ed25519.SigningKey(seed: random.secret(byteCount: 32)),
                    circuitKey: try XWing.PrivateKey(seed: random.secret(byteCount: 32)),
                    // 198.18.0.0/15, a /24 for each relay.
                    v4: SocketAddress(
                        ip: IPAddress(v4: 0xc612_0001 | UInt32(number) << 8),
                        port: 4433
                    ),
                    v6: listensOnV6
                        ? SocketAddress(
                            ip: IPAddress(high: 0x2001_0db8_0000_0000 | number << 16, low: 1),
                            port: 4433
                        ) : nil,
                    flags: flags
                )
            )
        }
        self.members = members
        authorities = (0..<4).map { _ in
            Ed25519.SigningKey(seed: random.secret(byteCount: 32))
        }
    }

    /// The network as a consensus of three of four authorities shows it.
    ///
    /// - Parameter absent: indexes of relays that are not listed.
    public func view(
        at time: WallTime,
        absent: Set<Int> = [],
        parameters: NetworkParameters = Self.parameters,
        mints: MintSection = MintSection()
    ) throws -> NetworkView {
        var descriptors: [SignedDescriptor] = []
        for (index, member) in members.enumerated() where !absent.contains(index) {
            descriptors.append(
                try SignedDescriptor(
                    signing: try descriptor(of: member, index: index, at: time),
                    with: member.signingKey
                )
            )
        }
        let outcome = try ConsensusBuilder(
            network: network,
            parameters: parameters,
            validAfter: time
        ).body(from: descriptors)
        precondition(outcome.omissions.isEmpty, "a relay of the roster was left out")
        let root = try TrustRoot(
            network: network,
            threshold: 3,
            authorities: authorities.enumerated().map { index, key in
                TrustRoot.Authority(
                    index: UInt8(index),
                    key: key.publicKey,
                    name: "authority-\(index)"
                )
            }
        )
        var consensus = try Consensus(parsing: outcome.body)
        consensus.mints = mints
        var document = try ConsensusDocument(body: try consensus.encoded())
        for index in 0..<3 {
            document = try document.adding(
                document.signature(by: UInt8(index), with: authorities[index])
            )
        }
        return try root.verify(document, at: time)
    }

    /// The parameters of simulated networks: small nets have paths, documents hold for a month.
    public static let parameters: NetworkParameters = {
        var parameters = NetworkParameters.lab
        parameters.freshSeconds = 86_400
        parameters.validSeconds = 30 * 86_400
        parameters.descriptorSeconds = 30 * 86_400
        parameters.guardExitCountriesDiffer = false
        parameters.paymentsRequired = false
        return parameters
    }()

    private func descriptor(
        of member: Member,
        index: Int,
        at time: WallTime
    ) throws -> Descriptor {
        Descriptor(
            network: network,
            id: member.id,
            circuitKey: member.circuitKey.publicKey,
            circuitKeyExpiryMinute: time.minute + 60 * 24 * 30,
            publishedMinute: time.minute,
            addresses: try RelayAddresses(v4: member.v4, v6: member.v6),
            flags: member.flags,
            bandwidthKilobits: 1_000_000,
            policy: member.flags.contains(.exit) ? .standard : .none,
            nickname: "relay-\(index)"
        )
    }
}
