/// Which way something goes.
public enum Direction: UInt8, Hashable, Codable, Sendable {
    /// From the client to the exit.
    case forward
    /// From the exit to the client.
    case backward
}

/// Where something is seen.
public enum Place: Hashable, Sendable {
    /// Between a client and its guard.
    case clientLink(client: Int)
    /// Between two relays.
    case relayLink(from: Int, to: Int)
    /// Between an exit and the hosts behind it; flows are told apart by the address they come from.
    case exitSide(exit: Int, flow: Int)
}

/// One datagram or packet as an observer sees it: time, size, direction and place; never content.
public struct Observation: Hashable, Sendable {
    /// Seconds from the start.
    public var time: Double
    /// Bytes on the wire.
    public var byteCount: UInt32
    /// Which way it went.
    public var direction: Direction
    /// Where it was seen.
    public var place: Place
    /// Whether it was lost on the link it was seen on, as who sees both ends of the link knows.
    public var isLost: Bool

    /// What was seen.
    public init(
        time: Double,
        byteCount: UInt32,
        direction: Direction,
        place: Place,
        isLost: Bool = false
    ) {
        self.time = time
        self.byteCount = byteCount
        self.direction = direction
        self.place = place
        self.isLost = isLost
    }
}

/// All that was seen in a run, in order of time.
public struct Recording: Sendable {
    /// What was seen.
    public private(set) var observations: [Observation] = []
    /// Observations that were not kept, for there were more than ``limit``.
    public private(set) var droppedCount = 0

    /// Observations kept at most: 1.6 GB.
    public static let limit = 40_000_000

    /// Nothing seen yet.
    public init() {}

    /// Notes what was seen.
    public mutating func add(_ observation: Observation) {
        guard observations.count < Self.limit else {
            droppedCount += 1
            return
        }
        observations.append(observation)
    }

    /// What an observer at `vantage` has of it.
    public func seen(from vantage: Vantage) -> Recording {
        var seen = Recording()
        seen.observations = observations.filter { vantage.sees($0.place) }
        return seen
    }

    /// The trace of each group that `group` names, one way; `nil` leaves an observation out.
    ///
    /// - Complexity: O(observations).
    public func traces(
        _ direction: Direction,
        count: Int,
        by group: (Place) -> Int?
    ) -> [FlowTrace] {
        var traces = [FlowTrace](repeating: FlowTrace(), count: count)
        for observation in observations where observation.direction == direction {
            guard let index = group(observation.place), traces.indices.contains(index) else {
                continue
            }
            traces[index].add(observation.time, byteCount: observation.byteCount)
        }
        return traces
    }

    /// What passed between guard and middle of each path, one way: all circuits of the link together.
    ///
    /// Nothing where the path is not known.
    /// - Complexity: O(observations).
    public func middleLinks(of paths: [CircuitPath], _ direction: Direction) -> [FlowTrace] {
        var links: [Place: FlowTrace] = [:]
        for observation in observations {
            guard case .relayLink = observation.place else { continue }
            links[observation.place, default: FlowTrace()]
                .add(observation.time, byteCount: observation.byteCount)
        }
        return paths.map { path in
            let place: Place =
                direction == .forward
                ? .relayLink(from: path.entry, to: path.middle)
                : .relayLink(from: path.middle, to: path.entry)
            return links[place] ?? FlowTrace()
        }
    }
}
