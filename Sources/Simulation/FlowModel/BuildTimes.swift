/// How long circuits take to build, in the order they begin.
///
/// One round trip over the whole path, and one more over each link that does not stand yet; the key
/// work of client and relays, and what a relay's handshakes wait for each other: M/D/1, at the rate
/// of the step before.
struct BuildTimes {
    private let network: DrawnNetwork
    private let plan: NetworkPlan
    private var links = LinkMemory()
    private var created: [Int32]
    private var wait: [Float]
    // The first step has none before it.
    private var isFirst = true

    init(network: DrawnNetwork, plan: NetworkPlan) {
        self.network = network
        self.plan = plan
        created = [Int32](repeating: 0, count: network.capacity.count)
        wait = [Float](repeating: 0, count: network.capacity.count)
    }

    /// Begins a step of `span` seconds.
    mutating func begin(span: Double) {
        if !isFirst {
            for relay in created.indices {
                let load = min(0.99, Double(created[relay]) * plan.relayKeyWork / span)
                wait[relay] = Float(load * plan.relayKeyWork / (2 * (1 - load)))
                created[relay] = 0
            }
        }
        isFirst = false
    }

    /// Builds the circuit at `index`.
    mutating func build(_ index: Int, _ lives: ClientLives, _ result: inout FlowResult) {
        let circuits = lives.circuits
        let (first, second, third) = (
            circuits.guardRelay[index], circuits.middle[index], circuits.exit[index]
        )
        let (start, end) = (circuits.start[index], circuits.end[index])
        let isGuardNew = circuits.kind[index].contains(.newLink)
        let isSecondNew = !links.use(first, second, from: start, to: end)
        let isThirdNew = !links.use(second, third, from: start, to: end)
        let kind = circuits.kind[index]
        let client = lives.places[Int(circuits.client[index])]
        let places = [Int(first), Int(second), Int(third)].map { network.place[$0] }
        let delays = [
            network.delay(client, places[0]), network.delay(places[0], places[1]),
            network.delay(places[1], places[2]),
        ]
        // The exit is asked for addresses; what is old carries until then.
        let isWaitedFor = kind.isDisjoint(with: [.spare, .rotated])
        if isWaitedFor { result.searchSeconds += 2 * delays.reduce(0, +) }
        // A spare that takes over was built before.
        guard !kind.contains(.takenOver) else { return }
        var time = plan.clientKeyWork
        time += trip(delays[0], isGuardNew)
        time += trip(delays[1], isSecondNew)
        time += trip(delays[2], isThirdNew)
        for hop in [first, second, third] {
            time += plan.relayKeyWork + Double(wait[Int(hop)])
            created[Int(hop)] += 1
        }
        let newCount = (isGuardNew ? 1 : 0) + (isSecondNew ? 1 : 0) + (isThirdNew ? 1 : 0)
        result.builds.add(time)
        if isWaitedFor { result.searchSeconds += time }
        if newCount == 0 { result.warmBuilds.add(time) }
        result.newLinkCount += newCount
        result.handshakeCount += 3
    }

    private func trip(_ delay: Double, _ isNew: Bool) -> Double {
        // A link's handshake is key work at both of its ends.
        isNew ? 4 * delay + 2 * plan.relayKeyWork : 2 * delay
    }
}
