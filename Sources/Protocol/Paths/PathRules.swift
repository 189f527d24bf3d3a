import Base
import Wire

/// The rules two relays of one path must keep (§E.6).
struct PathRules {
    let parameters: NetworkParameters

    /// The rule that keeps `first` and `second` from being in one path; `nil` if none does.
    func conflict(_ first: RelayRecord, _ second: RelayRecord) -> PathRule? {
        if first.id == second.id { return .sameRelay }
        if let family = first.family, family == second.family { return .sameFamily }
        if sharesSubnet(first.addresses, second.addresses) { return .sameSubnet }
        let isKnown = first.autonomousSystem != 0
        if isKnown, first.autonomousSystem == second.autonomousSystem { return .sameSystem }
        return nil
    }

    /// The rule that keeps `first` from being guard where `last` is exit; `nil` if none does.
    func conflict(guardRelay first: RelayRecord, exit last: RelayRecord) -> PathRule? {
        if let rule = conflict(first, last) { return rule }
        guard parameters.guardExitCountriesDiffer, let country = first.country else { return nil }
        return country == last.country ? .sameCountry : nil
    }

    /// The rule that keeps `middle` from standing between the two; `nil` if none does.
    func conflict(
        middle: RelayRecord,
        between first: RelayRecord,
        and last: RelayRecord
    ) -> PathRule? {
        if let rule = conflict(first, middle) ?? conflict(middle, last) { return rule }
        let isLinked = canLink(first, middle) && canLink(middle, last)
        return isLinked ? nil : .unreachable
    }

    /// Whether two relays have a kind of address in common.
    private func canLink(_ first: RelayRecord, _ second: RelayRecord) -> Bool {
        (first.addresses.v4 != nil && second.addresses.v4 != nil)
            || (first.addresses.v6 != nil && second.addresses.v6 != nil)
    }

    private func sharesSubnet(_ first: RelayAddresses, _ second: RelayAddresses) -> Bool {
        if parameters.subnetPrefixV4 > 0, let one = first.v4, let other = second.v4 {
            let prefix = 96 + Int(min(parameters.subnetPrefixV4, 32))
            if IPNetwork(one.ip, prefixBitCount: prefix).contains(other.ip) { return true }
        }
        if parameters.subnetPrefixV6 > 0, let one = first.v6, let other = second.v6 {
            let prefix = Int(min(parameters.subnetPrefixV6, 128))
            if IPNetwork(one.ip, prefixBitCount: prefix).contains(other.ip) { return true }
        }
        return false
    }
}
