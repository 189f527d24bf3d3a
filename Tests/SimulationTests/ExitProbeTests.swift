import Base
import ClientCore
import Simulation
import Testing
import Wire

@Suite("Exits are probed before flows move to them")
struct ExitProbeTests {
    private static let seeds: Range<UInt64> = 0..<10

    private func world(_ seed: UInt64, exits: Int = 4) throws -> (World, ClientNode, ClientHost) {
        var settings = WorldSettings(seed: seed)
        settings.exitCount = exits
        settings.client.probesExits = true
        settings.quality.loss = seed % 3 == 0 ? 0 : 100
        let world = try World(settings)
        let (client, host) = try world.connectedClient()
        keepBusy(host)
        return (world, client, host)
    }

    /// Sends all the time: who sends nothing misses nothing.
    private func keepBusy(_ host: ClientHost) {
        var flow = DatagramFlow.Settings()
        flow.count = 30_000
        _ = host.startFlow(flow)
    }

    /// The exit in use.
    private func exit(_ client: ClientNode, _ host: ClientHost) throws -> RelayNode {
        try #require(client.currentPath(of: host).last)
    }

    @Test("one that resolves nothing gets no flow: the next one does", arguments: seeds)
    func deafExit(seed: UInt64) throws {
        let (world, client, host) = try world(seed)
        #expect(world.internet.askedResolvers.isEmpty, "the first exit is not waited for")
        let first = try exit(client, host)
        // All but one of the others resolve nothing.
        let others = world.relays.filter { $0.member.flags.contains(.exit) && $0 !== first }
        try #require(others.count == 3)
        let good = others[Int(seed % 3)]
        for (index, relay) in world.relays.enumerated()
        where others.contains(where: { $0 === relay }) && relay !== good {
            world.internet.deafResolvers.insert(index)
        }
        world.kill(first)
        let isBack = world.run(within: .seconds(60)) {
            client.isConnected(host) && client.currentPath(of: host).last !== first
        }
        #expect(isBack, "seed=\(seed)\(client.history)")
        #expect(try exit(client, host) === good, "seed=\(seed)")
        let place = try #require(world.relays.firstIndex { $0 === good })
        #expect(world.internet.askedResolvers.contains(place), "seed=\(seed)")
        let stream = host.startStream()
        #expect(world.run(within: .seconds(20)) { stream.isFinished }, "seed=\(seed)")
        world.expectSound()
    }

    @Test("where none resolves anything, one is taken all the same", arguments: seeds.prefix(4))
    func allDeaf(seed: UInt64) throws {
        let (world, client, host) = try world(seed, exits: 3)
        let first = try exit(client, host)
        world.internet.deafResolvers = Set(world.relays.indices)
        world.kill(first)
        let isBack = world.run(within: .seconds(90)) {
            client.isConnected(host) && client.currentPath(of: host).last !== first
        }
        #expect(isBack, "seed=\(seed)\(client.history)")
        let stream = host.startStream()
        #expect(world.run(within: .seconds(20)) { stream.isFinished }, "seed=\(seed)")
        world.expectSound()
    }

    @Test("one that answers is used within a second of its answer", arguments: seeds.prefix(4))
    func costsOneRoundTrip(seed: UInt64) throws {
        var times: [TimeSpan] = []
        for probes in [false, true] {
            var settings = WorldSettings(seed: seed)
            settings.exitCount = 3
            settings.client.probesExits = probes
            let world = try World(settings)
            let (client, host) = try world.connectedClient()
            keepBusy(host)
            let first = try exit(client, host)
            world.kill(first)
            let begin = world.now
            let isBack = world.run(within: .seconds(30)) {
                client.isConnected(host) && client.currentPath(of: host).last !== first
            }
            #expect(isBack, "seed=\(seed)")
            times.append(world.now - begin)
        }
        #expect(times[1] < times[0] + .seconds(1), "seed=\(seed): \(times.map(\.seconds))")
    }

    @Test("a client that wakes asks its circuits for a sign of life, and replaces the dead (R34)")
    func resumes() throws {
        let (world, client, host) = try world(1)
        #expect(world.run(within: .seconds(10)) { !client.sparePath(of: host).isEmpty })
        let path = client.currentPath(of: host)
        // While it sleeps nothing goes out that could show that a relay has died.
        world.kill(path[1])
        client.resume()
        let isReplaced = world.run(within: .seconds(5)) {
            client.isConnected(host) && client.currentPath(of: host).count == 3
                && client.currentPath(of: host)[1] !== path[1]
        }
        #expect(isReplaced, "\(client.history)")
        world.expectSound()
    }

    @Test("the stages of a connection come in their order")
    func stages() throws {
        let world = try World(WorldSettings(seed: 3))
        let client = world.addClient()
        let host = client.openTunnel()
        var seen: [ConnectionStage] = []
        _ = world.run(within: .seconds(10)) {
            if let stage = client.control.connectionStage(of: host.tunnel), stage != seen.last {
                seen.append(stage)
            }
            return seen.last == .done
        }
        #expect(seen == seen.sorted())
        #expect(seen.first == .link && seen.last == .done)
        #expect(seen.count >= 4, "\(seen)")
        #expect(client.control.connectionStages[host.tunnel] == .done)
        #expect(!client.control.primaryGuards.isEmpty)
    }
}
