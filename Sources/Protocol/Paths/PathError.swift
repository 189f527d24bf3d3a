public import Base

/// Why there is no path; says which rule left none.
public enum PathError: Error, Hashable, Sendable {
    /// The consensus has expired: what it says of relays holds no longer.
    case directoryExpired
    /// No exit suits the wish, whatever the guard.
    case noExit(PathConstraints, exitCount: Int, PathRefusals)
    /// No guard of the sample may be used.
    ///
    /// `retry` is when the first one that is down is tried again; `nil` when none is down.
    case noGuard(sampleCount: Int, PathRefusals, retry: Instant?)
    /// Exits that suit the wish go with no guard that may be used.
    case noExitForGuard(PathConstraints, exitCount: Int, guardCount: Int, PathRefusals)
    /// No kept middle goes between any such guard and exit.
    case noMiddle(setCount: Int, PathRefusals)
}

extension PathError: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .directoryExpired:
            "the directory has expired"
        case .noExit(let wanted, let count, let refusals):
            "no exit\(wanted) among \(count) exits\(refusals)"
        case .noGuard(let count, let refusals, _):
            "no guard among the \(count) of the sample\(refusals)"
        case .noExitForGuard(let wanted, let exitCount, let guardCount, let refusals):
            "no exit\(wanted) among \(exitCount) that goes with one of \(guardCount) guards"
                + "\(refusals)"
        case .noMiddle(let count, let refusals):
            "no middle among the \(count) kept ones goes with guard and exit\(refusals)"
        }
    }
}

/// A rule that keeps a relay out of a path.
public enum PathRule: UInt8, Hashable, Sendable, CaseIterable {
    /// The consensus does not list it.
    case notListed
    /// Its circuit key has expired.
    case keyExpired
    /// The circuit is not to use it.
    case excluded
    /// It failed lately.
    case failed
    /// It is not the exit asked for.
    case otherExit
    /// It stands in another country than asked for.
    case otherCountry
    /// It carries no IPv6.
    case noIPv6
    /// Its policy refuses a port.
    case portRefused
    /// This machine or its neighbour in the path has no address of its kind.
    case unreachable
    /// It is in the path already.
    case sameRelay
    /// Another relay of its family is in the path.
    case sameFamily
    /// Another relay of its subnet is in the path.
    case sameSubnet
    /// Another relay of its autonomous system is in the path.
    case sameSystem
    /// Guard and exit would stand in one country.
    case sameCountry

    fileprivate var phrase: String {
        switch self {
        case .notListed: "not in the consensus"
        case .keyExpired: "with an expired key"
        case .excluded: "excluded"
        case .failed: "down for now"
        case .otherExit: "another relay"
        case .otherCountry: "in another country"
        case .noIPv6: "without IPv6"
        case .portRefused: "refusing a port"
        case .unreachable: "without a common kind of address"
        case .sameRelay: "the same relay"
        case .sameFamily: "of one family"
        case .sameSubnet: "in one subnet"
        case .sameSystem: "in one autonomous system"
        case .sameCountry: "with guard and exit in one country"
        }
    }
}

/// How often each rule kept a relay, or a pair of relays, out.
public struct PathRefusals: Hashable, Sendable {
    private var counts = [Int](repeating: 0, count: PathRule.allCases.count)

    mutating func add(_ rule: PathRule) {
        counts[Int(rule.rawValue)] += 1
    }

    /// How often `rule` kept something out.
    public subscript(rule: PathRule) -> Int {
        counts[Int(rule.rawValue)]
    }
}

extension PathRefusals: CustomStringConvertible {
    /// The counts, for people: `: 2 in another country, 1 down for now`; empty for none.
    public var description: String {
        let parts = PathRule.allCases.filter { self[$0] > 0 }.map { "\(self[$0]) \($0.phrase)" }
        return parts.isEmpty ? "" : ": \(parts.joined(separator: ", "))"
    }
}
