import Base
import Directory
import Wire

/// The rules two relays of one path must keep (§E.6), for the relays of one view.
///
/// What the rules look at is copied out of the records once: a path is chosen from tables of a few
/// bytes a relay. Relays are named by their index in the view.
struct PathRules: Sendable {
    private struct Traits: Sendable {
        var family: FamilyID?
        var system: UInt32
        var country: CountryCode?
        var keyExpiryMinute: UInt32
        var isExcluded: Bool
        var v4: IPAddress?
        var v6: IPAddress?
        // First addresses of the subnets that count; `nil` without address or without rule.
        var subnetV4: IPAddress?
        var subnetV6: IPAddress?
    }

    private let traits: [Traits]
    private let countriesDiffer: Bool

    /// Takes what matters out of `view`.
    init(_ view: NetworkView, excluding exclusions: RelayExclusions) {
        let parameters = view.parameters
        countriesDiffer = parameters.guardExitCountriesDiffer
        let prefixV4 = Int(min(parameters.subnetPrefixV4, 32))
        let prefixV6 = Int(min(parameters.subnetPrefixV6, 128))
        traits = view.relays.map { relay in
            let (v4, v6) = (relay.addresses.v4?.ip, relay.addresses.v6?.ip)
            return Traits(
                family: relay.family,
                system: relay.autonomousSystem,
                country: relay.country,
                keyExpiryMinute: relay.circuitKeyExpiryMinute,
                isExcluded: exclusions.contains(relay),
                v4: v4,
                v6: v6,
                subnetV4: prefixV4 == 0
                    ? nil : v4.map { IPNetwork($0, prefixBitCount: 96 + prefixV4).base },
                subnetV6: prefixV6 == 0
                    ? nil : v6.map { IPNetwork($0, prefixBitCount: prefixV6).base }
            )
        }
    }

    /// Whether the circuit key of the relay at `index` is used at `date` no longer.
    func isKeyExpired(_ index: Int, at date: WallTime) -> Bool {
        traits[index].keyExpiryMinute <= date.minute
    }

    /// Whether the client's owner wants the relay at `index` in no circuit.
    func isExcluded(_ index: Int) -> Bool {
        traits[index].isExcluded
    }

    /// Whether the relay at `index` has an address of a kind this machine reaches.
    func isReachable(_ index: Int, overV4: Bool, overV6: Bool) -> Bool {
        (overV4 && traits[index].v4 != nil) || (overV6 && traits[index].v6 != nil)
    }

    /// The rule that keeps two relays from being in one path; `nil` if none does.
    func conflict(_ first: Int, _ second: Int) -> PathRule? {
        if first == second { return .sameRelay }
        if let family = traits[first].family, family == traits[second].family {
            return .sameFamily
        }
        if let subnet = traits[first].subnetV4, subnet == traits[second].subnetV4 {
            return .sameSubnet
        }
        if let subnet = traits[first].subnetV6, subnet == traits[second].subnetV6 {
            return .sameSubnet
        }
        let system = traits[first].system
        return system != 0 && system == traits[second].system ? .sameSystem : nil
    }

    /// Whether two relays are of one family or one subnet: who runs one may well run the other.
    func areKin(_ first: Int, _ second: Int) -> Bool {
        switch conflict(first, second) {
        case .sameFamily, .sameSubnet: true
        default: false
        }
    }

    /// The rule that keeps `first` from being guard where `last` is exit; `nil` if none does.
    func conflict(guardRelay first: Int, exit last: Int) -> PathRule? {
        if let rule = conflict(first, last) { return rule }
        guard countriesDiffer, let country = traits[first].country else { return nil }
        return country == traits[last].country ? .sameCountry : nil
    }

    /// The rule that keeps `middle` from standing between the two; `nil` if none does.
    func conflict(middle: Int, between first: Int, and last: Int) -> PathRule? {
        if let rule = conflict(first, middle) ?? conflict(middle, last) { return rule }
        return canLink(first, middle) && canLink(middle, last) ? nil : .unreachable
    }

    /// Whether two relays have a kind of address in common.
    private func canLink(_ first: Int, _ second: Int) -> Bool {
        (traits[first].v4 != nil && traits[second].v4 != nil)
            || (traits[first].v6 != nil && traits[second].v6 != nil)
    }
}
