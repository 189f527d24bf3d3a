public import Base

/// What a relay says about itself: the body of a descriptor, without its signature.
///
/// Layout (§E.8), big-endian: `version u8 = 1 | netid 32 | relay_id 32 | X-Wing key 1216 | key
/// expiry u32 minute | published u32 minute | addresses | flags u16 | bandwidth u32 kbit/s |
/// features u32 | country 2 | AS u32 | policy | family u8 (0 or 1: key 32, signature 64) |
/// nickname | contact | exit addresses`, texts as `length u8 | ASCII`, the last one only where there
/// are any, as `count u8 | 16 bytes each`. One value has one encoding.
public struct Descriptor: Hashable, Sendable {
    /// The network it is for.
    public var network: NetworkID
    /// The relay, and the key that signs this.
    public var id: NodeID
    /// The X-Wing public key circuits are built with, 1216 bytes.
    public var circuitKey: [UInt8]
    /// The minute since 1970 from which the circuit key is no longer used.
    public var circuitKeyExpiryMinute: UInt32
    /// The minute since 1970 this was signed in.
    public var publishedMinute: UInt32
    /// Where the relay answers.
    public var addresses: RelayAddresses
    /// What the relay offers.
    public var flags: RelayFlags
    /// What the relay is willing to carry, in kilobits a second.
    public var bandwidthKilobits: UInt32
    /// Protocol features, one bit each; see ``RelayFeatures``.
    public var features: UInt32
    /// The country it stands in; `nil` when unknown.
    public var country: CountryCode?
    /// The autonomous system it stands in; 0 when unknown.
    public var autonomousSystem: UInt32
    /// What it carries out; ``DescribedPolicy/none`` exactly for relays that are no exits.
    public var policy: DescribedPolicy
    /// The operator's family, certified by the family key.
    public var family: FamilyCertificate?
    /// A name for people: 1 to 19 of letters, digits, `-` and `_`.
    public var nickname: String
    /// How to reach the operator: at most 128 printable ASCII characters.
    public var contact: String
    /// The addresses flows leave with, where an exit has others than it listens on; at most 16.
    public var exitAddresses: [IPAddress]

    /// A family key's word that a relay belongs to it.
    public struct FamilyCertificate: Hashable, Sendable {
        /// The family's Ed25519 public key.
        public var key: Bytes32
        /// Its signature over ``Descriptor/familyStatement(of:)``, 64 bytes.
        public var signature: [UInt8]

        /// Takes key and signature over, unverified.
        public init(key: Bytes32, signature: [UInt8]) {
            self.key = key
            self.signature = signature
        }
    }

    /// Makes a descriptor; ``encoded()`` checks it.
    public init(
        network: NetworkID,
        id: NodeID,
        circuitKey: [UInt8],
        circuitKeyExpiryMinute: UInt32,
        publishedMinute: UInt32,
        addresses: RelayAddresses,
        flags: RelayFlags,
        bandwidthKilobits: UInt32,
        features: UInt32 = 0,
        country: CountryCode? = nil,
        autonomousSystem: UInt32 = 0,
        policy: DescribedPolicy = .none,
        family: FamilyCertificate? = nil,
        nickname: String,
        contact: String = "",
        exitAddresses: [IPAddress] = []
    ) {
        self.network = network
        self.id = id
        self.circuitKey = circuitKey
        self.circuitKeyExpiryMinute = circuitKeyExpiryMinute
        self.publishedMinute = publishedMinute
        self.addresses = addresses
        self.flags = flags
        self.bandwidthKilobits = bandwidthKilobits
        self.features = features
        self.country = country
        self.autonomousSystem = autonomousSystem
        self.policy = policy
        self.family = family
        self.nickname = nickname
        self.contact = contact
        self.exitAddresses = exitAddresses
    }

    /// The bytes a family key signs, under the label of descriptors, to take `relay` in.
    ///
    /// They begin with a letter and a descriptor with its version, so neither passes for the other.
    public static func familyStatement(of relay: NodeID) -> [UInt8] {
        Array("family".utf8) + relay.rawValue.bytes
    }
}

extension Descriptor {
    /// The most bytes a body takes.
    public static let maximumByteCount =
        Offset.addresses + RelayAddresses.maximumByteCount + 16 + DescribedPolicy.maximumByteCount
        + 97 + (1 + RelayLimits.maximumNicknameByteCount)
        + (1 + RelayLimits.maximumContactByteCount) + (1 + exitAddressLimit * 16)
    /// Addresses an exit names at most.
    public static let exitAddressLimit = 16

    /// Reads a whole body.
    ///
    /// - Throws: ``WireError`` for anything ``encoded()`` would not write.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.maximumByteCount else {
            throw .tooLarge(
                field: "descriptor",
                value: UInt64(bytes.count),
                limit: UInt64(Self.maximumByteCount)
            )
        }
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.version else {
            throw .unknown(field: "descriptor version", value: UInt64(version))
        }
        network = NetworkID(try reader.readBytes32())
        id = NodeID(try reader.readBytes32())
        circuitKey = try reader.read(byteCount: RelayLimits.circuitKeyByteCount)
        circuitKeyExpiryMinute = try reader.read()
        publishedMinute = try reader.read()
        addresses = try RelayAddresses(from: &reader)
        flags = RelayFlags(rawValue: try reader.read())
        bandwidthKilobits = try reader.read()
        features = try reader.read()
        country = try reader.readCountry()
        autonomousSystem = try reader.read()
        policy = try DescribedPolicy(from: &reader)
        family = try Self.readFamily(&reader)
        nickname = try reader.readText(
            limit: RelayLimits.maximumNicknameByteCount,
            field: "nickname"
        )
        contact = try reader.readText(limit: RelayLimits.maximumContactByteCount, field: "contact")
        exitAddresses = try Self.readExitAddresses(&reader)
        try reader.finish()
        try validate()
    }

    /// The body's bytes, which the relay signs.
    ///
    /// - Throws: ``WireError`` when a field is out of bounds.
    public func encoded() throws(WireError) -> [UInt8] {
        try validate()
        var writer = ByteWriter(capacity: 1536)
        writer.write(Self.version)
        writer.write(network.rawValue)
        writer.write(id.rawValue)
        writer.write(circuitKey)
        writer.write(circuitKeyExpiryMinute)
        writer.write(publishedMinute)
        addresses.write(to: &writer)
        writer.write(flags.rawValue)
        writer.write(bandwidthKilobits)
        writer.write(features)
        writer.writeCountry(country)
        writer.write(autonomousSystem)
        policy.write(to: &writer)
        writer.write(UInt8(family == nil ? 0 : 1))
        if let family {
            writer.write(family.key)
            writer.write(family.signature)
        }
        writer.writeText(nickname)
        writer.writeText(contact)
        guard !exitAddresses.isEmpty else { return writer.bytes }
        writer.write(UInt8(truncatingIfNeeded: exitAddresses.count))
        for address in exitAddresses {
            writer.write(address.high)
            writer.write(address.low)
        }
        return writer.bytes
    }

    private static func readExitAddresses(
        _ reader: inout ByteReader
    ) throws(WireError) -> [IPAddress] {
        guard reader.remainingByteCount > 0 else { return [] }
        let count = Int(try reader.read(UInt8.self))
        // None are written as nothing at all: one value has one encoding.
        guard (1...exitAddressLimit).contains(count) else {
            throw .invalid(field: "exit addresses")
        }
        var addresses: [IPAddress] = []
        for _ in 0..<count {
            let high = try reader.read(UInt64.self)
            addresses.append(IPAddress(high: high, low: try reader.read()))
        }
        return addresses
    }

    private static func readFamily(
        _ reader: inout ByteReader
    ) throws(WireError) -> FamilyCertificate? {
        switch try reader.read(UInt8.self) {
        case 0: return nil
        case 1:
            let key = try reader.readBytes32()
            return FamilyCertificate(key: key, signature: try reader.read(byteCount: 64))
        case let kind: throw .unknown(field: "family", value: UInt64(kind))
        }
    }

    private func validate() throws(WireError) {
        try RelayLimits.validate(circuitKey: circuitKey)
        try RelayLimits.validate(nickname: nickname)
        try RelayLimits.validate(contact: contact)
        try RelayLimits.validate(flags: flags, policy: policy)
        guard exitAddresses.count <= Self.exitAddressLimit,
            Set(exitAddresses).count == exitAddresses.count,
            exitAddresses.isEmpty || flags.contains(.exit)
        else { throw .invalid(field: "exit addresses") }
        guard (family?.signature.count ?? 64) == 64 else { throw .invalid(field: "family") }
    }

    private static let version: UInt8 = 1

    private enum Offset {
        static let addresses = 1 + 32 + 32 + RelayLimits.circuitKeyByteCount + 4 + 4
    }
}
