/// What a relay counts for, or carries, at each position.
public struct PositionShares: Hashable, Sendable {
    /// As guard.
    public var guardRelay = 0.0
    /// As middle.
    public var middle = 0.0
    /// As exit.
    public var exit = 0.0

    /// A third of each position's sum.
    public var mean: Double {
        (guardRelay + middle + exit) / 3
    }
}

/// What came of a run.
///
/// Arrays are by relay.
public struct FlowResult: Sendable {
    /// Clients.
    public var clientCount = 0
    /// Steps of the network.
    public var stepCount = 0
    /// Cells relayed as guard, both ways together.
    public var guardCells: [Double]
    /// Cells relayed as middle, both ways together.
    public var middleCells: [Double]
    /// Cells relayed as exit, both ways together.
    public var exitCells: [Double]
    /// The share the weights promise of each position; each position's sum is 1.
    public var expectedShare: [PositionShares]
    /// Share of its line a relay used, over the whole run.
    public var utilization: [Double]
    /// The most that was asked for at once, against the line; above 1 where it was full.
    public var peak: [Double]
    /// Cells beside packets, times the relays they went through.
    public var controlHops = 0.0
    /// Datagrams that are no relayed cells: handshakes and PINGs.
    public var linkDatagrams = 0.0
    /// Cells clients wanted to send and get.
    public var wantedCells = 0.0
    /// Relays that were full, summed over steps.
    public var fullRelaySteps = 0
    /// Times to build a circuit, in seconds.
    public var builds = Histogram()
    /// Of those, over links that all stood.
    public var warmBuilds = Histogram()
    /// Links made.
    public var newLinkCount = 0
    /// Handshakes of circuits at relays.
    public var handshakeCount = 0
    /// Circuits that carried something.
    public var circuitCount = 0
    /// Circuits that stood ready.
    public var spareCount = 0
    /// Circuits a hop of which died.
    public var brokenCount = 0
    /// Of those, whose place a spare took.
    public var takenOverCount = 0
    /// Circuits whose place a spare took because they were old.
    public var rotatedCount = 0
    /// Circuits that came to nothing because a hop was down.
    public var failedBuilds = 0
    /// Times a client had no path at all.
    public var pathlessCount = 0
    /// Seconds clients had no circuit and knew it, all together: until the first stands, and after
    /// losses once they are noticed.
    public var searchSeconds = 0.0
    /// Seconds without a circuit that works, of all clients: those of ``searchSeconds``, and those until
    /// losses are noticed.
    public var outage: Double {
        searchSeconds + Double(brokenCount) * Double(ClientLife.detection)
    }
    /// Seconds clients were there, all together.
    public var online = 0.0
    /// Share of time relays were up.
    public var availability = 1.0
    /// Tickets; `nil` where relays are not paid.
    public var money: MoneyFigures?
    /// The directory.
    public var directory = DirectoryFigures()
    /// A hash of all circuits and what came of them.
    public var hash = RunHash()

    init(relayCount: Int) {
        let zeros = [Double](repeating: 0, count: relayCount)
        guardCells = zeros
        middleCells = zeros
        exitCells = zeros
        utilization = zeros
        peak = zeros
        expectedShare = [PositionShares](repeating: PositionShares(), count: relayCount)
    }

    /// Datagrams on all links.
    public var datagrams: Double { cellHops + controlHops + linkDatagrams }

    /// Cells of packets times the relays they went through.
    public var cellHops: Double {
        [guardCells, middleCells, exitCells].reduce(0) { $0 + $1.reduce(0, +) }
    }

    /// The share of each position's cells each relay carried.
    public var carriedShare: [PositionShares] {
        let sums = (guardCells.reduce(0, +), middleCells.reduce(0, +), exitCells.reduce(0, +))
        return guardCells.indices.map { relay in
            PositionShares(
                guardRelay: sums.0 > 0 ? guardCells[relay] / sums.0 : 0,
                middle: sums.1 > 0 ? middleCells[relay] / sums.1 : 0,
                exit: sums.2 > 0 ? exitCells[relay] / sums.2 : 0
            )
        }
    }

    mutating func normalizeShares() {
        var sums = PositionShares()
        for share in expectedShare {
            sums.guardRelay += share.guardRelay
            sums.middle += share.middle
            sums.exit += share.exit
        }
        for relay in expectedShare.indices {
            expectedShare[relay].guardRelay /= max(1, sums.guardRelay)
            expectedShare[relay].middle /= max(1, sums.middle)
            expectedShare[relay].exit /= max(1, sums.exit)
        }
    }
}
