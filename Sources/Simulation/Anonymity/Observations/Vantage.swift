/// What an observer can see: links, and whatever passes relays that are its own.
///
/// Passive. An observer at a client's link sees the link; an observer that is a relay sees the links
/// of that relay and, as an exit, the side of it that faces the hosts.
public struct Vantage: Sendable {
    /// Clients whose links it sees.
    public var clients: Set<Int>
    /// Relays it has.
    public var relays: Set<Int>
    /// Exits whose far side it sees, though they are not its own.
    public var exits: Set<Int>
    /// The relay each client enters by, where known: a guard sees its clients' links.
    public var guards: [Int: Int]

    /// An observer.
    public init(
        clients: Set<Int> = [],
        relays: Set<Int> = [],
        exits: Set<Int> = [],
        guards: [Int: Int] = [:]
    ) {
        self.clients = clients
        self.relays = relays
        self.exits = exits
        self.guards = guards
    }

    /// Whether it sees what passes at `place`.
    public func sees(_ place: Place) -> Bool {
        switch place {
        case .clientLink(let client):
            clients.contains(client) || guards[client].map(relays.contains) == true
        case .relayLink(let from, let to): relays.contains(from) || relays.contains(to)
        case .exitSide(let exit, _): exits.contains(exit) || relays.contains(exit)
        }
    }
}

/// The relays of one circuit.
public struct CircuitPath: Hashable, Sendable {
    /// The first hop.
    public var entry: Int
    /// The second hop.
    public var middle: Int
    /// The third hop.
    public var exit: Int

    /// A path.
    public init(entry: Int, middle: Int, exit: Int) {
        self.entry = entry
        self.middle = middle
        self.exit = exit
    }

    /// A path of relays in order; where they are not three, one over none.
    public init(_ relays: [Int]) {
        self =
            relays.count == 3
            ? Self(entry: relays[0], middle: relays[1], exit: relays[2])
            : Self(entry: -1, middle: -1, exit: -1)
    }
}

/// Relays that tell each other what they see.
public struct ColludingSet: Hashable, Sendable {
    /// Who they are.
    public var relays: Set<Int>

    /// A set of relays.
    public init(_ relays: Set<Int>) {
        self.relays = relays
    }

    /// What a set sees of a circuit.
    public enum Exposure: String, CaseIterable, Codable, Sendable {
        /// None of its ends; the middle tells nothing by itself.
        case none
        /// Who uses it.
        case entry
        /// Where it leads.
        case exit
        /// Both, so that flows can be compared.
        case both
    }

    /// What the set sees of a circuit.
    public func exposure(of path: CircuitPath) -> Exposure {
        switch (relays.contains(path.entry), relays.contains(path.exit)) {
        case (true, true): .both
        case (true, false): .entry
        case (false, true): .exit
        case (false, false): .none
        }
    }

    /// The share of circuits of which the set sees both ends; 0 where there are none.
    public func shareSeenAtBothEnds(of paths: [CircuitPath]) -> Double {
        guard !paths.isEmpty else { return 0 }
        return Double(paths.filter { exposure(of: $0) == .both }.count) / Double(paths.count)
    }

    /// The worst `count` relays to have against these paths: those of most circuits' ends, guards
    /// and exits in turn; ties fall to the lower number.
    public static func worst(_ count: Int, against paths: [CircuitPath]) -> ColludingSet {
        var chosen: Set<Int> = []
        while chosen.count < count {
            let rest = Set(paths.flatMap { [$0.entry, $0.exit] }).subtracting(chosen).sorted()
            func gain(_ relay: Int) -> (Double, Int) {
                let set = ColludingSet(chosen.union([relay]))
                let ends = paths.filter { $0.entry == relay || $0.exit == relay }.count
                return (set.shareSeenAtBothEnds(of: paths), ends)
            }
            guard let best = rest.max(by: { gain($0) < gain($1) }) else { break }
            chosen.insert(best)
        }
        return ColludingSet(chosen)
    }
}
