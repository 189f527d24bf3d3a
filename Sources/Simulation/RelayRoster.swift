public import Base
public import CryptoPrimitives
public import Directory
public import Wire

/// What relays there are in a world.
public struct RelayRoster: Sendable {
    /// What a relay is to be, before it has keys.
    public struct Draft: Sendable {
        /// What it is fit for.
        public var flags: RelayFlags
        /// Its IPv4 address; `nil` for one that follows from its number, in a /24 of its own.
        public var v4: IPAddress?
        /// Its port.
        public var port: UInt16 = 4433
        /// What it counts for, in kilobits a second.
        public var weightKilobits: UInt32 = 1_000_000
        /// Where it stands; `nil` for nowhere in particular.
        public var country: CountryCode?
        /// The autonomous system it stands in; 0 for none.
        public var autonomousSystem: UInt32 = 0
        /// Its operator's other relays; `nil` where there are none.
        public var family: FamilyID?

        /// A relay of 1 Gbit/s of which nothing else is known.
        public init(flags: RelayFlags) {
            self.flags = flags
        }
    }

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
        /// What else there is to know of it.
        public let draft: Draft

        /// What it is fit for.
        public var flags: RelayFlags { draft.flags }
        /// Its name.
        public var id: NodeID { NodeID(signingKey.publicKey) }
    }

    /// Relays there may be: each has an IPv4 /24 and an IPv6 /48 that follow from its number.
    public static let memberLimit = 60_000

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
        let kinds: [(RelayFlags, Int)] = [
            (.guardCapable, guards), ([], middles), ([.exit, .exitsIPv6], exits),
        ]
        let drafts = kinds.flatMap { flags, count in
            [Draft](repeating: Draft(flags: flags), count: count)
        }
        try self.init(drafts, listensOnV6: listensOnV6, random: &random)
    }

    /// Makes the relays of `drafts`, all with keys from `random`.
    public init(_ drafts: [Draft], listensOnV6: Bool, random: inout RandomGenerator) throws {
        precondition(drafts.count <= Self.memberLimit, "more relays than there are addresses")
        network = NetworkID(random.bytes32())
        var members: [Member] = []
        members.reserveCapacity(drafts.count)
        for (index, draft) in drafts.enumerated() {
            let address = draft.v4 ?? Self.v4(number: UInt32(index + 1))
            members.append(
                Member(
                    signingKey: Ed25519.SigningKey(seed: random.secret(byteCount: 32)),
                    circuitKey: try XWing.PrivateKey(seed: random.secret(byteCount: 32)),
                    v4: SocketAddress(ip: address, port: draft.port),
                    v6: listensOnV6
                        ? SocketAddress(
                            ip: IPAddress(
                                high: 0x2001_0db8_0000_0000 | UInt64(index + 1) << 16,
                                low: 1
                            ),
                            port: 4433
                        ) : nil,
                    draft: draft
                )
            )
        }
        self.members = members
        authorities = (0..<4).map { _ in
            Ed25519.SigningKey(seed: random.secret(byteCount: 32))
        }
    }

    /// The address of relay `number`, from 1: in 198.18.0.0/16 a /24 each, then in 11.0.0.0/8.
    ///
    /// 198.19.0.0/16 is the clients'.
    static func v4(number: UInt32) -> IPAddress {
        IPAddress(v4: (number < 256 ? 0xc612_0001 : 0x0b00_0001) + number << 8)
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
        // As authorities would say it that have measured and looked up all of them.
        let drafts = Dictionary(uniqueKeysWithValues: members.map { ($0.id, $0.draft) })
        for index in consensus.relays.indices {
            guard let draft = drafts[consensus.relays[index].id] else { continue }
            consensus.relays[index].weight = max(1, draft.weightKilobits)
            consensus.relays[index].country = draft.country
            consensus.relays[index].autonomousSystem = draft.autonomousSystem
            consensus.relays[index].family = draft.family
        }
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
            bandwidthKilobits: member.draft.weightKilobits,
            policy: member.flags.contains(.exit) ? .standard : .none,
            nickname: "relay-\(index)"
        )
    }
}
