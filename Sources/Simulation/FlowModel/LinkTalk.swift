/// What nodes say beside packets: handshakes, acknowledgements, payments, and PINGs on links.
///
/// Cells follow from what is counted anyway. PINGs are reckoned link by link from the circuits that use
/// it at one time. Packets are taken to be answered at once, as those of
/// ``CoreRun`` are: so whoever answered is the last to have spoken, and asks with a PING after a
/// second without another packet (PROTOCOL.md §B.5).
struct LinkTalk {
    /// Cells times relays of a circuit that is built: two EXTENDs, two EXTENDEDs, and what says that
    /// each of them came.
    private static let cellsPerBuild = 12.0
    /// Datagrams of a build that are no relayed cells: CREATE and CREATED, for each hop.
    private static let createsPerBuild = 6.0
    /// OPEN_TUN, its answer, and that it came.
    private static let cellsPerUse = 9.0
    /// A tick or voucher and the hop's STAT, both acknowledged, at the second of three hops: the mean.
    private static let cellsPerPayment = 8.0
    /// Both messages of a link's handshake.
    private static let datagramsPerLink = 2.0
    /// PING and PONG.
    private static let datagramsPerPing = 2.0
    /// Links between relays of a circuit.
    private static let linksPerCircuit = 2.0
    /// Silence after which a link in use is kept by a PING, in seconds.
    fileprivate static let keepalive: Float = 15
    /// Steps of a run in which links are looked at: they change slowly.
    private static let censusLimit = 16

    private let stride: Int
    private var pairs = PairTable()
    private var links: [Link] = []
    private var clientPingRate = 0.0
    /// PINGs so far.
    private(set) var pings = 0.0

    /// A link in one step.
    private struct Link {
        /// The chance that nothing comes over it within a second.
        var quiet: Float = 1
        /// The sum of r / (1 - r) over its circuits, of r packets a second each way.
        var odds: Float = 0
        /// Packets a second each way.
        var rate: Float = 0
        /// The part of the step in which it has a circuit.
        var span: Float = 0

        mutating func add(_ rate: Float, span: Float) {
            let part = rate * span
            quiet *= max(0, 1 - part)
            if part < 1 { odds += part / (1 - part) }
            self.rate += part
            self.span = max(self.span, span)
        }

        /// PINGs a second: of those who answered, and of those who keep it.
        var pingRate: Double {
            Double(quiet * odds + max(0, span / LinkTalk.keepalive - rate))
        }
    }

    init(stepCount: Int) {
        stride = (stepCount + Self.censusLimit - 1) / Self.censusLimit
    }

    /// Whether links are looked at in `step`.
    func isDue(_ step: Int) -> Bool {
        step % stride == stride / 2
    }

    /// Notes a circuit of `rate` packets a second each way, that stands in the part `span` of a step.
    mutating func add(_ index: Int, of circuits: CircuitTable, rate: Float, span: Float) {
        let middle = circuits.middle[index]
        add(circuits.guardRelay[index], middle, rate, span)
        add(middle, circuits.exit[index], rate, span)
        // A spare has the guard of the circuit it stands by for.
        guard !circuits.kind[index].contains(.spare) else { return }
        var own = Link()
        own.add(rate, span: span)
        clientPingRate += own.pingRate
    }

    private mutating func add(_ one: UInt16, _ other: UInt16, _ rate: Float, _ span: Float) {
        let number = pairs.number(one, other)
        if number == links.count { links.append(Link()) }
        links[number].add(rate, span: span)
    }

    /// Ends the census of one step of `seconds`, which stands for those around it.
    mutating func endCensus(seconds: Double) {
        let rate = links.reduce(clientPingRate) { $0 + $1.pingRate }
        pings += rate * seconds * Double(stride)
        for number in links.indices { links[number] = Link() }
        clientPingRate = 0
    }

    /// Says in `result` what all of it comes to.
    func note(in result: inout FlowResult, isMix: Bool) {
        let builds = Double(result.builds.count)
        result.controlHops = builds * Self.cellsPerBuild
        if !isMix {
            // In `mix` these take slots, which are counted.
            result.controlHops += Double(result.circuitCount) * Self.cellsPerUse
            if let money = result.money {
                let ticks = money.earnedTicks.reduce(0, +) - money.filledTicks
                result.controlHops += (ticks + Double(money.openedCount)) * Self.cellsPerPayment
            }
        }
        // Of who acknowledged last nothing else is heard on the links of a spare.
        let asked = pings + Double(result.spareCount) * Self.linksPerCircuit
        result.linkDatagrams =
            builds * Self.createsPerBuild + Double(result.newLinkCount) * Self.datagramsPerLink
            + asked * Self.datagramsPerPing
    }
}
