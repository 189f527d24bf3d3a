import Base
public import CryptoPrimitives
public import Directory
public import NodeConfiguration
public import Wire

extension SignedDescriptor {
    private static let defaultBandwidthKilobits: UInt32 = 100_000
    private static let keyLifeMinutes: UInt32 = 365 * 24 * 60

    /// The descriptor a relay's configuration and keys make in `minute`; `family` takes it in.
    ///
    /// For a directory that is signed by hand: the circuit key serves for a year.
    ///
    /// - Throws: `WireError` where addresses or names break the directory's rules, `DirectoryError`
    ///   where the result cannot be signed.
    public init(
        _ configuration: RelayConfiguration,
        keys: RelayKeys,
        family: Ed25519.SigningKey? = nil,
        network: NetworkID,
        minute: UInt32
    ) throws {
        try self.init(
            configuration,
            identity: keys.identity,
            circuitKey: CircuitKey(key: keys.circuit, expiryMinute: minute + Self.keyLifeMinutes),
            family: family,
            network: network,
            minute: minute
        )
    }

    /// The descriptor a relay's configuration and keys make in `minute`; `family` takes it in.
    ///
    /// - Throws: `WireError` where addresses or names break the directory's rules, `DirectoryError`
    ///   where the result cannot be signed.
    init(
        _ configuration: RelayConfiguration,
        identity: Ed25519.SigningKey,
        circuitKey: CircuitKey,
        family: Ed25519.SigningKey?,
        network: NetworkID,
        minute: UInt32
    ) throws {
        let exit = configuration.exit
        var flags: RelayFlags = exit.isEnabled ? [.exit] : [.guardCapable]
        if exit.isEnabled, exit.carriesIPv6 { flags.insert(.exitsIPv6) }
        let id = NodeID(identity.publicKey)
        try self.init(
            signing: Descriptor(
                network: network,
                id: id,
                circuitKey: circuitKey.key.publicKey,
                circuitKeyExpiryMinute: circuitKey.expiryMinute,
                publishedMinute: minute,
                addresses: try RelayAddresses(
                    v4: configuration.announcedAddresses.first { $0.ip.isV4 },
                    v6: configuration.announcedAddresses.first { !$0.ip.isV4 }
                ),
                flags: flags,
                bandwidthKilobits: Self.defaultBandwidthKilobits,
                features: RelayFeatures.current,
                country: configuration.country.flatMap { CountryCode($0) },
                policy: ExitPlan(configuration).describedPolicy,
                family: family.map {
                    Descriptor.FamilyCertificate(certifying: id, in: network, with: $0)
                },
                nickname: configuration.nickname,
                contact: configuration.contact,
                exitAddresses: exit.isEnabled ? exit.addresses : []
            ),
            with: identity
        )
    }
}
