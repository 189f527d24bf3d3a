import Base
import CryptoPrimitives
import Directory
import Paths
import Wire

/// What clients do in one run: which circuits they have when.
struct ClientLives: Sendable {
    var circuits = CircuitTable()
    /// The place of each client.
    var places: [UInt8] = []
    /// Exits each client holds vouchers for, ``stockCount`` of each.
    private(set) var stocks: [UInt16] = []
    /// Exits in the stock of one client; 0 where relays are not paid.
    let stockCount: Int
    /// Circuits that came to nothing, because a hop was down.
    var failedBuilds = 0
    /// Times there was no path at all.
    var pathlessCount = 0
    /// Seconds clients looked for a path, or waited for one that came to nothing, all together.
    var searchSeconds = 0.0
    /// Seconds clients were there, all together.
    var online = 0.0

    init(stockCount: Int) {
        self.stockCount = stockCount
    }

    /// The exits client `client` holds vouchers for.
    func stock(of client: UInt32) -> ArraySlice<UInt16> {
        stocks[Int(client) * stockCount..<(Int(client) + 1) * stockCount]
    }

    mutating func addStock(_ exits: [UInt16]) {
        precondition(exits.count == stockCount, "each client has a stock of the same size")
        stocks += exits
    }

    mutating func append(_ other: Self) {
        circuits.append(other.circuits)
        places += other.places
        stocks += other.stocks
        failedBuilds += other.failedBuilds
        pathlessCount += other.pathlessCount
        searchSeconds += other.searchSeconds
        online += other.online
    }
}

/// The life of one client, by events: circuits begin, grow old, lose a hop.
///
/// Guards, middles and exits are chosen by the production ``PathSelector``. Where relays are paid, a
/// wallet holds vouchers for eight exits drawn evenly, and circuits after the first one have one of
/// those, by weight: that is what `payablePath` of the product comes to, but for vouchers that have
/// not rested yet. What is not asked for: a spare takes another of the client's middles without
/// looking at subnets and families; it carries nothing unless a middle dies. Nor are circuits that
/// flows of a lost lease wait for: the product pays a middle over a spare whose exit turns out to be
/// gone as well, and fills the vouchers of an old lease whose exit came back. Where relays are up for
/// ten minutes at a time a client has 0.9 and 0.4 of those in a quarter of an hour.
struct ClientLife {
    let network: DrawnNetwork
    let plan: NetworkPlan

    /// Time after which a silent relay is given up (links: 1 s, three questions, 300 ms apart).
    static let detection: Float = 2
    /// Time after which a circuit that does not come to stand is given up: 300 ms, times 1.5, five
    /// tries.
    static let buildLimit: Float = 4
    /// Time after which another is begun beside it, for packets that wait.
    static let buildHedge: Float = 0.4
    /// Time after which an exit that may be dead is asked once more, while a circuit to another is
    /// built (two round trips more are left to it, about what building takes).
    static let exitDoubt: Float = 0.3
    /// Time after which another guard is tried beside one that does not answer.
    static let guardHedge: Float = 1
    /// Time in which clients come, in seconds; at most a tenth of the run.
    static let arrival = 60.0

    /// Follows the clients of `range`.
    func run(_ range: Range<Int>, streams: Streams) -> ClientLives {
        var lives = ClientLives(stockCount: stockCount)
        let perClient = Int(plan.duration / plan.rotation) + 1
        lives.circuits.reserve(range.count * perClient * 2)
        for client in range { run(UInt32(client), streams: streams, into: &lives) }
        return lives
    }

    private func run(_ client: UInt32, streams: Streams, into lives: inout ClientLives) {
        var random = streams.generator(.clients, Int(client))
        let date = network.view.validAfter
        lives.places.append(UInt8(random.place(in: network.clientSums)))
        var selector = network.selector.another(at: date, using: &random)
        var time = Float(random.unit() * min(Self.arrival, plan.duration / 10))
        let end = Float(plan.duration)
        lives.online += Double(end - time)
        let stock = stock(&random)
        lives.addStock(stock)
        var lastGuard: UInt16?
        while time < end {
            let now = Instant(nanoseconds: UInt64(Double(time) * 1e9) + 1)
            // At first there are no vouchers: they are bought for what is chosen.
            let wanted = lastGuard == nil ? nil : payableExit(stock, &random)
            guard let path = path(&selector, wanted, now, date, &random), let hops = hops(path)
            else {
                lives.pathlessCount += 1
                lives.searchSeconds += Double(min(Self.retry, end - time))
                time += Self.retry
                continue
            }
            if let down = downPosition(hops, at: time) {
                lives.failedBuilds += 1
                // Nothing waits for a client's first circuit here.
                let wait =
                    down == .guardRelay
                    ? Self.guardHedge : lastGuard == nil ? Self.buildLimit : Self.buildHedge
                lives.searchSeconds += Double(min(wait, end - time))
                selector.noteFailure(of: id(down, of: path), at: down, now: now)
                time += wait
                continue
            }
            selector.noteSuccess(of: path, on: date)
            var kind: CircuitTable.Kind = lastGuard == hops.guardRelay ? [] : .newLink
            lastGuard = hops.guardRelay
            time = carry(client, hops, from: time, &kind, &selector, &random, &lives)
        }
    }

    private static let retry: Float = 30
    /// Time an old circuit stays for flows that began on it: half of one that takes half a minute,
    /// and five minutes after its last packet (`FlowTable`).
    private static let linger: Float = 315

    /// Exits a wallet holds vouchers for.
    var stockCount: Int {
        plan.paysRelays ? min(Self.stockedExits, network.exits.count) : 0
    }

    private static let stockedExits = 8

    private func stock(_ random: inout RandomGenerator) -> [UInt16] {
        var chosen: [UInt16] = []
        while chosen.count < stockCount {
            let exit = network.exits[Int(random.next(below: UInt64(network.exits.count)))]
            if !chosen.contains(exit) { chosen.append(exit) }
        }
        return chosen
    }

    /// One of the exits there are vouchers for, by weight; `nil` where any will do.
    private func payableExit(_ stock: [UInt16], _ random: inout RandomGenerator) -> NodeID? {
        guard !stock.isEmpty, stock.count < network.exits.count else { return nil }
        let sums = DrawnNetwork.sums(
            stock.map { Double(network.selector.weight(Int($0), at: .exit)) }
        )
        return network.view.relays[Int(stock[random.place(in: sums)])].id
    }

    private func path(
        _ selector: inout PathSelector,
        _ exit: NodeID?,
        _ now: Instant,
        _ date: WallTime,
        _ random: inout RandomGenerator
    ) -> Path? {
        if let exit {
            // Where rules or failures stand against it, any exit will do.
            var wanted = PathConstraints()
            wanted.exit = exit
            if let path = try? selector.path(wanted, now: now, date: date, using: &random) {
                return path
            }
        }
        do throws(PathError) {
            return try selector.path(now: now, date: date, using: &random)
        } catch {
            selector.retryAll()
            return nil
        }
    }

    /// Lets circuits carry; a spare takes over where one has grown old, or a middle dies.
    ///
    /// - Returns: when the client looks for another path.
    private func carry(
        _ client: UInt32,
        _ first: CircuitTable.Hops,
        from start: Float,
        _ kind: inout CircuitTable.Kind,
        _ selector: inout PathSelector,
        _ random: inout RandomGenerator,
        _ lives: inout ClientLives
    ) -> Float {
        var hops = first
        var time = start
        let duration = Float(plan.duration)
        var stop = min(time + Float(plan.rotation), duration)
        while true {
            let (down, position) = firstDown(hops, after: time)
            let isBroken = down < stop
            var own = kind
            if isBroken { own.insert(.broken) }
            if isBroken || stop + Self.linger < duration { own.insert(.ended) }
            let end = min(stop, down)
            lives.circuits.append(client: client, hops, from: time, to: end, own)
            let spare = keepSpare(client, hops, time..<end, selector.middles, &random, &lives)
            guard isBroken else {
                // The spare leads to the same exit; it was built long ago.
                guard stop < duration, let spare, downPosition(spare, at: stop) == nil else {
                    return stop
                }
                hops = spare
                kind = [.takenOver, .rotated]
                time = stop
                stop = min(time + Float(plan.rotation), duration)
                continue
            }
            time = down + Self.detection
            guard time < stop else { return time }
            if position == .middle, let spare, downPosition(spare, at: time) == nil {
                hops = spare
                kind = .takenOver
                continue
            }
            let id = network.view.relays[Int(index(position, of: hops))].id
            selector.noteFailure(
                of: id,
                at: position,
                now: Instant(nanoseconds: UInt64(Double(time) * 1e9))
            )
            guard position == .exit else { return time }
            lives.searchSeconds += Double(Self.exitDoubt)
            return time + Self.exitDoubt
        }
    }

    /// Keeps a circuit to the same exit by another of the client's middles ready, and builds another
    /// when its middle dies.
    ///
    /// - Returns: the one that is there at the end; `nil` where there is no other middle.
    private func keepSpare(
        _ client: UInt32,
        _ hops: CircuitTable.Hops,
        _ times: Range<Float>,
        _ middles: MiddleSet,
        _ random: inout RandomGenerator,
        _ lives: inout ClientLives
    ) -> CircuitTable.Hops? {
        var time = times.lowerBound
        while time < times.upperBound {
            guard let spare = spare(hops, middles, at: time, &random) else { return nil }
            let down = network.uptimes.downAfter(Int(spare.middle), time)
            let end = min(times.upperBound, down)
            lives.circuits.append(client: client, spare, from: time, to: end, .spare)
            guard down + Self.detection < times.upperBound else { return spare }
            time = down + Self.detection
        }
        return nil
    }

    /// The circuit to the same exit by another of the client's middles that is up; `nil` where it has
    /// none.
    private func spare(
        _ hops: CircuitTable.Hops,
        _ middles: MiddleSet,
        at time: Float,
        _ random: inout RandomGenerator
    ) -> CircuitTable.Hops? {
        var chosen: UInt16?
        var count: UInt64 = 0
        for member in middles.members {
            guard let index = network.view.index(of: member.id).map({ UInt16($0) }),
                index != hops.middle, index != hops.guardRelay, index != hops.exit,
                network.uptimes.isUp(Int(index), at: time)
            else { continue }
            count += 1
            if count == 1 || random.next(below: count) == 0 { chosen = index }
        }
        return chosen.map {
            CircuitTable.Hops(guardRelay: hops.guardRelay, middle: $0, exit: hops.exit)
        }
    }

    private func hops(_ path: Path) -> CircuitTable.Hops? {
        let view = network.view
        guard let first = view.index(of: path.guardRelay.id),
            let second = view.index(of: path.middle.id), let third = view.index(of: path.exit.id)
        else { return nil }
        return CircuitTable.Hops(
            guardRelay: UInt16(first),
            middle: UInt16(second),
            exit: UInt16(third)
        )
    }

    private func id(_ position: PathPosition, of path: Path) -> NodeID {
        switch position {
        case .guardRelay: path.guardRelay.id
        case .middle: path.middle.id
        case .exit: path.exit.id
        }
    }

    private func index(_ position: PathPosition, of hops: CircuitTable.Hops) -> UInt16 {
        switch position {
        case .guardRelay: hops.guardRelay
        case .middle: hops.middle
        case .exit: hops.exit
        }
    }

    private func downPosition(_ hops: CircuitTable.Hops, at time: Float) -> PathPosition? {
        PathPosition.allCases.first { !network.uptimes.isUp(Int(index($0, of: hops)), at: time) }
    }

    /// The hop that dies first, and when.
    private func firstDown(
        _ hops: CircuitTable.Hops,
        after time: Float
    ) -> (Float, PathPosition) {
        var first = (Float.infinity, PathPosition.guardRelay)
        for position in PathPosition.allCases {
            let down = network.uptimes.downAfter(Int(index(position, of: hops)), time)
            if down < first.0 { first = (down, position) }
        }
        return first
    }
}
