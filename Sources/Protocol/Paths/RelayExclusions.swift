public import Wire

/// Relays an owner wants in no circuit, at no position.
public struct RelayExclusions: Hashable, Sendable {
    /// Relays by name.
    public var relays: Set<NodeID> = []
    /// Countries none of whose relays is used; those of unknown country are.
    public var countries: Set<CountryCode> = []

    /// Excludes nobody.
    public init() {}

    /// Whether `relay` is among them.
    public func contains(_ relay: RelayRecord) -> Bool {
        relays.contains(relay.id) || relay.country.map { countries.contains($0) } ?? false
    }
}
