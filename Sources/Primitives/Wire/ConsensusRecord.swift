import Base

/// One relay as the authorities list it.
///
/// Layout (§E.2), big-endian: `relay_id 32 | X-Wing key 1216 | key expiry u32 minute | addresses |
/// flags u16 | weight u32 | country 2 | AS u32 | family 16 | features u32 | policy | nickname`;
/// 1,294 to 2,067 bytes. The nickname is here so that a client can show names and take them as
/// an exit's name; contact and certificates stay in the descriptor.
public struct RelayRecord: Hashable, Sendable {
    /// The relay.
    public var id: NodeID
    /// The X-Wing public key circuits are built with, 1216 bytes.
    public var circuitKey: [UInt8]
    /// The minute since 1970 from which the circuit key is no longer used.
    public var circuitKeyExpiryMinute: UInt32
    /// Where the relay answers.
    public var addresses: RelayAddresses
    /// What the authorities hold it fit for.
    public var flags: RelayFlags
    /// Its share of traffic relative to other relays, in kilobits a second.
    public var weight: UInt32
    /// The country it stands in; `nil` when unknown.
    public var country: CountryCode?
    /// The autonomous system it stands in; 0 when unknown.
    public var autonomousSystem: UInt32
    /// The family it belongs to; `nil` for none.
    public var family: FamilyID?
    /// Protocol features, one bit each.
    public var features: UInt32
    /// What it carries out; ``DescribedPolicy/none`` exactly for relays that are no exits.
    public var policy: DescribedPolicy
    /// A name for people: 1 to 19 of letters, digits, `-` and `_`.
    public var nickname: String

    /// Makes a record; encoding a consensus checks it.
    public init(
        id: NodeID,
        circuitKey: [UInt8],
        circuitKeyExpiryMinute: UInt32,
        addresses: RelayAddresses,
        flags: RelayFlags,
        weight: UInt32,
        country: CountryCode?,
        autonomousSystem: UInt32,
        family: FamilyID?,
        features: UInt32,
        policy: DescribedPolicy,
        nickname: String
    ) {
        self.id = id
        self.circuitKey = circuitKey
        self.circuitKeyExpiryMinute = circuitKeyExpiryMinute
        self.addresses = addresses
        self.flags = flags
        self.weight = weight
        self.country = country
        self.autonomousSystem = autonomousSystem
        self.family = family
        self.features = features
        self.policy = policy
        self.nickname = nickname
    }

    init(from reader: inout ByteReader) throws(WireError) {
        id = NodeID(try reader.readBytes32())
        circuitKey = try reader.read(byteCount: RelayLimits.circuitKeyByteCount)
        circuitKeyExpiryMinute = try reader.read()
        addresses = try RelayAddresses(from: &reader)
        flags = RelayFlags(rawValue: try reader.read())
        weight = try reader.read()
        country = try reader.readCountry()
        autonomousSystem = try reader.read()
        let high = try reader.read(UInt64.self)
        family = FamilyID(high: high, low: try reader.read())
        features = try reader.read()
        policy = try DescribedPolicy(from: &reader)
        nickname = try reader.readText(
            limit: RelayLimits.maximumNicknameByteCount,
            field: "nickname"
        )
        try validate()
    }

    func write(to writer: inout ByteWriter) throws(WireError) {
        try validate()
        writer.write(id.rawValue)
        writer.write(circuitKey)
        writer.write(circuitKeyExpiryMinute)
        addresses.write(to: &writer)
        writer.write(flags.rawValue)
        writer.write(weight)
        writer.writeCountry(country)
        writer.write(autonomousSystem)
        writer.write(family?.high ?? 0)
        writer.write(family?.low ?? 0)
        writer.write(features)
        policy.write(to: &writer)
        writer.writeText(nickname)
    }

    private func validate() throws(WireError) {
        try RelayLimits.validate(circuitKey: circuitKey)
        try RelayLimits.validate(nickname: nickname)
        try RelayLimits.validate(flags: flags, policy: policy)
    }

    private static let fixedByteCount =
        32 + RelayLimits.circuitKeyByteCount + 4 + 2 + 4 + 2 + 4 + 16 + 4

    static let minimumByteCount =
        fixedByteCount + RelayAddresses.minimumByteCount + DescribedPolicy.minimumByteCount + 2

    static let maximumByteCount =
        fixedByteCount + RelayAddresses.maximumByteCount + DescribedPolicy.maximumByteCount + 1
        + RelayLimits.maximumNicknameByteCount
}
