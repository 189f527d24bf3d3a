public import Base
import Circuits
import Links
import Paths
public import Wire

extension ClientControl {
    /// Circuits that measure exits at the same time, at most.
    public static let surveyLimit = 32

    /// Measures the round trip to `exit` over a circuit of its own, which ends with the answer.
    ///
    /// A ``Notice/pong(token:_:_:)`` of the third hop tells how long it took, or that there was no
    /// answer; ``exitTrips`` keeps it. Carries nobody's traffic, and needs no tunnel.
    public mutating func measure(exit: NodeID, token: UInt64, now: Instant, wall: WallTime) {
        self.wall = wall
        var wanted = PathConstraints()
        wanted.reachesV4 = settings.reachesV4
        wanted.reachesV6 = settings.reachesV6
        wanted.exit = exit
        guard circuits.values.count(where: { $0.survey != nil }) < Self.surveyLimit,
            let id = try? startCircuit(
                for: Self.noTunnel,
                wanting: wanted,
                because: .measurement,
                now: now
            )
        else { return notices.append(.pong(token: token, .third, nil)) }
        circuits[id]?.survey = token
        drainDialer(now: now)
    }

    /// The circuit `id` stands: where it is to measure its exit, asks for the echo.
    mutating func beginSurvey(_ id: CircuitID, now: Instant) {
        guard let token = circuits[id]?.survey else { return }
        if !ping(id, hop: .third, token: token, now: now) {
            drop(id, isOrderly: true, now: now)
        }
    }

    /// The echo of the circuit `id` came, or will not: it has done its part, if it was to measure.
    mutating func endSurvey(_ id: CircuitID, now: Instant) {
        guard circuits[id]?.survey != nil else { return }
        // The answer is told already.
        circuits[id]?.survey = nil
        drop(id, isOrderly: true, now: now)
    }

    /// Lets links go that nothing uses any longer.
    mutating func releaseLinks() {
        guard tunnels.isEmpty, circuits.isEmpty else { return }
        for link in links.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            commands.append(.removeLink(link, saysGoodbye: true))
        }
        links = [:]
        guardLinks = [:]
        for link in dialing.values { dialer.cancel(link) }
        dialing = [:]
    }

    /// The tunnel of circuits that belong to none.
    private static let noTunnel = TunnelID(rawValue: .max)
}
