import Base
import ClientCore
import Mixing
import RelayCore
import Simulation
import Testing
import Wire

@Suite("Schedules on the wire, and guards that break them", .tags(.shapes))
struct ScheduleTests {
    private static func world(
        _ seed: UInt64,
        _ change: (inout WorldSettings) -> Void = { _ in }
    ) throws -> World {
        var settings = WorldSettings(seed: seed)
        settings.client.shaping.watch.span = .seconds(5)
        change(&settings)
        return try World(settings)
    }

    private func mixed(
        _ world: World,
        _ client: ClientNode,
        shape: TrafficShape = .mix(.tenMilliseconds)
    ) throws -> ClientHost {
        let host = client.openTunnel(shape: shape)
        let isConnected = world.run(within: .seconds(20)) { client.isConnected(host) }
        try #require(isConnected, "seed=\(world.settings.seed): \(client.history)")
        return host
    }

    /// What somebody sees between two nodes, one way.
    private final class Sight {
        var times: [Instant] = []
        var sizes: Set<Int> = []

        /// Times between datagrams, ascending.
        var gaps: [Double] {
            zip(times, times.dropFirst()).map { ($1 - $0).milliseconds }.sorted()
        }
    }

    /// Watches three ways of a circuit for `span`: client to guard, guard to client, guard to middle.
    private func watch(
        _ world: World,
        _ client: ClientNode,
        _ host: ClientHost,
        for span: TimeSpan
    ) throws -> [Sight] {
        let path = client.currentPath(of: host)
        try #require(path.count == 3)
        let ways = [
            (client.index, path[0].index), (path[0].index, client.index),
            (path[0].index, path[1].index), (path[1].index, path[0].index),
        ]
        let sights = ways.map { _ in Sight() }
        world.tap = { node, destination, bytes, _ in
            guard let target = world.owner(of: destination) else { return }
            for (way, sight) in zip(ways, sights) where way == (node, target) {
                sight.times.append(world.now)
                sight.sizes.insert(bytes.count)
            }
        }
        world.run(for: span)
        world.tap = nil
        return sights
    }

    /// The greatest distance between two distributions, both ascending (Kolmogorov-Smirnov).
    private func distance(_ left: [Double], _ right: [Double]) -> Double {
        var (i, j, greatest) = (0, 0, 0.0)
        while i < left.count, j < right.count {
            let value = min(left[i], right[j])
            while i < left.count, left[i] <= value { i += 1 }
            while j < right.count, right[j] <= value { j += 1 }
            let parts = (Double(i) / Double(left.count), Double(j) / Double(right.count))
            greatest = max(greatest, abs(parts.0 - parts.1))
        }
        return greatest
    }

    @Test("mix idle and busy are not told apart by size, rate or spacing (matrix row 82)")
    func uniform() throws {
        let world = try Self.world(21) { $0.quality.jitter = .milliseconds(3) }
        let client = world.addClient()
        let host = try mixed(world, client)
        world.run(for: .seconds(2))
        let idle = try watch(world, client, host, for: .seconds(60))
        var settings = Stream.Settings()
        settings.byteCount = 3_000_000
        let stream = host.startStream(settings)
        host.startFlow(ShapeTests.flow)
        let busy = try watch(world, client, host, for: .seconds(60))
        #expect(stream.arrivedByteCount > 1_000_000)
        for (before, during) in zip(idle, busy) {
            #expect(before.sizes == [Datagram.byteCount] && during.sizes == before.sizes)
            // 100 a second, and what links say of themselves.
            #expect(abs(before.times.count - during.times.count) <= 12)
            // 5 % would be told from 2 x 6,000 gaps with certainty.
            #expect(distance(before.gaps, during.gaps) < 0.025)
        }
        world.expectSound()
    }

    @Test("fast idle and busy are told apart by the same measure")
    func told() throws {
        let world = try Self.world(22)
        let client = world.addClient()
        let host = try mixed(world, client, shape: .fast)
        let idle = try watch(world, client, host, for: .seconds(20))
        host.startStream()
        let busy = try watch(world, client, host, for: .seconds(20))
        #expect(busy[1].times.count > idle[1].times.count * 2)
    }

    @Test("padded shows volumes to a factor of four: 20 and 59 packets a second look the same")
    func ladder() throws {
        var counts: [[Int]] = []
        for interval in [50, 17] as [UInt64] {
            let world = try Self.world(23)
            let client = world.addClient()
            let host = try mixed(world, client, shape: .padded)
            var settings = DatagramFlow.Settings()
            settings.interval = .milliseconds(interval)
            settings.count = 10_000
            let flow = host.startFlow(settings)
            world.run(for: .seconds(10))
            let sights = try watch(world, client, host, for: .seconds(30))
            counts.append(sights.map(\.times.count))
            #expect(flow.answeredCount > 700)
            world.expectSound()
        }
        for (slow, quick) in zip(counts[0], counts[1]) {
            // 64 a second, of which a few more where the rate rose for a moment.
            #expect(slow >= 1_800 && quick >= 1_800, "\(counts)")
            #expect(Double(max(slow, quick)) / Double(min(slow, quick)) < 1.2, "\(counts)")
        }
    }

    @Test("padded idle sends 16 cells a second each way, and no more")
    func idle() throws {
        let world = try Self.world(24)
        let client = world.addClient()
        let host = try mixed(world, client, shape: .padded)
        world.run(for: .seconds(20))
        for sight in try watch(world, client, host, for: .seconds(30)) {
            #expect(sight.times.count >= 460 && sight.times.count <= 560, "\(sight.times.count)")
        }
    }

    @Test(
        "a guard that breaks the schedule is noticed, named and left",
        arguments: zip(
            [
                ScheduleFault.drops(oneOf: 10), .bunches(of: 8), .reorders(oneOf: 10),
                .resizes(oneOf: 10), .floods,
            ],
            [GridWatch.Fault.dropping, .bunching, .reordering, .dropping, .flooding]
        )
    )
    func broken(fault: ScheduleFault, wanted: GridWatch.Fault) throws {
        let world = try Self.world(25)
        let client = world.addClient()
        if fault == .floods { for relay in world.relays { relay.scheduleFault = .floods } }
        let host = try mixed(world, client)
        let guardRelay = try #require(client.currentPath(of: host).first)
        if fault != .floods {
            world.run(for: .seconds(12))
            #expect(client.currentPath(of: host).first === guardRelay, "\(client.history)")
        } else {
            for relay in world.relays where relay !== guardRelay { relay.scheduleFault = nil }
        }
        guardRelay.scheduleFault = fault
        let isLeft = world.run(within: .seconds(20)) { self.reasons(client).contains(wanted) }
        #expect(isLeft, "\(self.reasons(client)) \(client.history)")
        // Its circuit ends; the next one has another guard.
        let hasMoved = world.run(within: .seconds(20)) {
            let path = client.currentPath(of: host)
            return path.count == 3 && path[0] !== guardRelay && client.isConnected(host)
        }
        #expect(hasMoved, "\(client.history)")
        world.expectSound()
    }

    /// The faults circuits ended by.
    private func reasons(_ client: ClientNode) -> [GridWatch.Fault] {
        client.notices.compactMap { _, notice in
            guard case .circuit(let told) = notice, case .ended(let reason) = told.change else {
                return nil
            }
            return GridWatch.Fault.allCases.first { reason.contains("schedule: \($0.rawValue)") }
        }
    }

    @Test("loss that was always there is no fault")
    func usual() throws {
        let world = try Self.world(26) {
            $0.quality.loss = 100
            $0.quality.jitter = .milliseconds(4)
        }
        let client = world.addClient()
        let host = try mixed(world, client)
        let path = client.currentPath(of: host).map(\.index)
        world.run(for: .seconds(60))
        #expect(client.currentPath(of: host).map(\.index) == path, "\(client.history)")
        #expect(reasons(client).isEmpty)
        let loops = try #require(
            client.control.circuitReports().first { $0.isCurrent }?.loops
        )
        #expect(loops.answered > 1 && loops.lastTrip != nil)
        let outcome = try #require(loops.outcome)
        #expect(outcome.backwardLoss > 0 || outcome.forwardLoss > 0)
    }

    @Test(
        "clocks 50 ms apart share a grid, and what is sent arrives",
        arguments: [-50, 50] as [Int64]
    )
    func skew(milliseconds: Int64) throws {
        let world = try Self.world(27)
        let client = world.addClient()
        client.clockSkewNanoseconds = milliseconds * 1_000_000
        for (index, relay) in world.relays.enumerated() where index % 2 == 0 {
            relay.clockSkewNanoseconds = -milliseconds * 1_000_000
        }
        let host = try mixed(world, client)
        let flow = host.startFlow(ShapeTests.flow)
        let arrived = world.run(within: .seconds(20)) {
            flow.answeredCount == flow.settings.count
        }
        #expect(arrived, "\(flow.arrivedCount), \(flow.answeredCount)")
        let guardRelay = try #require(client.currentPath(of: host).first)
        let apart =
            client.clockSkewNanoseconds + client.shard.slotCorrection
            - guardRelay.clockSkewNanoseconds
        #expect(abs(apart) < 1_000_000, "\(apart) ns")
        #expect(reasons(client).isEmpty)
        world.expectSound()
    }

    @Test("an oscillator that is off by 50 in a million slips no slot")
    func drift() throws {
        let world = try Self.world(28)
        let client = world.addClient()
        client.clockDriftNanoseconds = 50_000
        let host = try mixed(world, client)
        world.run(for: .seconds(400))
        let gained = Int64(world.report.elapsed.nanoseconds / 1_000_000) * 50
        #expect(gained > 19_000_000, "two slots would have slipped")
        #expect(abs(gained + client.shard.slotCorrection) < 2_000_000)
        let guardRelay = try #require(client.currentPath(of: host).first)
        #expect(guardRelay.counters.unkeptCells == 0)
        #expect(reasons(client).isEmpty)
    }

    @Test("relays count what leaves in slots and what they hold, and find nothing late")
    func counted() throws {
        let world = try Self.world(32)
        let client = world.addClient()
        let host = try mixed(world, client)
        world.run(for: .seconds(2))
        let path = client.currentPath(of: host)
        try #require(path.count == 3)
        var settings = DatagramFlow.Settings()
        settings.interval = .milliseconds(25)
        settings.count = 1_000
        host.startFlow(settings)
        world.run(for: .seconds(1))
        let before = path.map(\.counters)
        world.run(for: .seconds(10))
        let after = path.map(\.counters)
        func grown(_ relay: Int, _ count: KeyPath<RelayCounters, UInt64>) -> Int {
            Int(after[relay][keyPath: count] - before[relay][keyPath: count])
        }
        // A hundred slots a second each way.
        let guardSlots = grown(0, \.slotCells) + grown(0, \.paddingCells)
        #expect((1_980...2_020).contains(guardSlots), "\(guardSlots)")
        // Forty of the cells a second go on to the exit.
        let held = zip(after[1].holds, before[1].holds).map { Int($0 - $1) }
        #expect((390...450).contains(held.reduce(0, +)), "\(held)")
        // From 5 to 24 slots of 10 ms.
        #expect(held[0] == 0 && held[1] > 0 && held[3] > 0 && held[5] == 0, "\(held)")
        // A hundred slots a second to the client, and what was held for the exit.
        let left =
            grown(1, \.slotCells) + grown(1, \.coverCells) + grown(1, \.parityCells)
            - held.reduce(0, +)
        #expect((960...1_040).contains(left), "\(left)")
        // Every fifth cell of the middle's layer is parity.
        #expect((180...220).contains(grown(1, \.parityCells)))
        for relay in 0..<3 {
            #expect(grown(relay, \.lateReleases) == 0 && grown(relay, \.unkeptCells) == 0)
        }
        world.expectSound()
    }

    @Test("a machine that slept goes on, and relays sent nothing for it meanwhile")
    func sleep() throws {
        let world = try Self.world(29)
        let client = world.addClient()
        let host = try mixed(world, client)
        world.run(for: .seconds(5))
        world.pause(client)
        world.run(for: .seconds(5))
        let before = world.relays.map(\.sentDatagrams).reduce(0, +)
        world.run(for: .seconds(20))
        let sent = world.relays.map(\.sentDatagrams).reduce(0, +) - before
        #expect(sent < 600, "\(sent) datagrams in 20 s")
        world.resume(client)
        client.resume()
        let isBack = world.run(within: .seconds(20)) { client.isConnected(host) }
        #expect(isBack, "\(client.history)")
        world.run(for: .seconds(10))
        let flow = host.startFlow(ShapeTests.flow)
        let arrived = world.run(within: .seconds(20)) {
            flow.answeredCount == flow.settings.count
        }
        #expect(arrived, "\(flow.arrivedCount), \(flow.answeredCount)")
        #expect(reasons(client).isEmpty)
        world.expectSound()
    }

    @Test("packets wait for the session's offset, and cover goes on after a tunnel's end")
    func sessions() throws {
        let world = try Self.world(30) { $0.client.shaping.sessionWindow = .seconds(20) }
        var waits: Set<UInt64> = []
        for _ in 0..<4 {
            let client = world.addClient()
            let host = client.openTunnel(shape: .mix(.tenMilliseconds))
            let began = world.now
            let isConnected = world.run(within: .seconds(30)) { client.isConnected(host) }
            try #require(isConnected, "\(client.history)")
            #expect(client.history.contains("session_offset"), "\(client.history)")
            waits.insert((world.now - began).nanoseconds / 1_000_000_000)
            client.closeTunnel(host)
            let closed = world.now
            var last = closed
            world.tap = { node, _, _, _ in if node == client.index { last = world.now } }
            world.run(for: .seconds(25))
            world.tap = nil
            waits.insert(100 + (last - closed).nanoseconds / 1_000_000_000)
        }
        #expect(waits.filter { $0 < 100 }.count > 1 && waits.filter { $0 >= 100 }.count > 1)
        #expect(waits.contains { $0 > 100 })
    }

    @Test("a relay's memory for cells that wait is bounded, however much comes")
    func bounds() throws {
        let world = try Self.world(31)
        let client = world.addClient()
        let host = try mixed(world, client)
        var settings = DatagramFlow.Settings()
        settings.interval = .milliseconds(5)
        settings.burst = 20
        settings.count = 40_000
        settings.byteCount = 1_000
        let flow = host.startFlow(settings)
        world.run(for: .seconds(10))
        #expect(flow.answeredCount > 300)
        let waiting = try #require(client.traffic(of: host)?.shaped?.waitingCells)
        #expect(waiting <= 128, "\(waiting)")
        #expect(client.shard.counters.lateCells > 1_000)
        #expect(world.checker.violations.isEmpty)
    }
}
