import Base
import Circuits
import ClientCore
import RelayCore
import Simulation
import Testing
import Wire

@Suite("Circuits replaced under live flows")
struct TakeoverTests {
    private static let seeds: Range<UInt64> = 0..<10

    private func settings(_ seed: UInt64) -> WorldSettings {
        var settings = WorldSettings(seed: seed)
        settings.quality.jitter = .milliseconds(2)
        settings.quality.loss = seed % 3 == 0 ? 0 : 100
        settings.usesOffload = seed % 2 == 1
        settings.shardCount = seed % 4 < 2 ? 1 : 4
        return settings
    }

    /// A client with a download, an upload and UDP packets half way through.
    private func busy(
        _ settings: WorldSettings
    ) throws -> (World, ClientNode, ClientHost, [Stream], DatagramFlow) {
        let world = try World(settings)
        let (client, host) = try world.connectedClient()
        // The spare stands too.
        #expect(world.run(within: .seconds(10)) { !client.sparePath(of: host).isEmpty })
        var stream = Stream.Settings()
        stream.byteCount = 800_000
        stream.window = 4
        var upload = stream
        upload.isDownload = false
        var datagrams = DatagramFlow.Settings()
        datagrams.count = 1_500
        let streams = [host.startStream(stream), host.startStream(upload)]
        let flow = host.startFlow(datagrams)
        world.run(for: .seconds(2))
        #expect(streams.allSatisfy { $0.arrivedByteCount > 30_000 && !$0.isFinished })
        return (world, client, host, streams, flow)
    }

    @Test(
        "when the middle dies, the spare takes over and the flows go on (row 26)",
        arguments: seeds
    )
    func middleDies(seed: UInt64) throws {
        let (world, client, host, streams, flow) = try busy(settings(seed))
        let path = client.currentPath(of: host)
        let spare = client.sparePath(of: host)
        try #require(path.count == 3 && spare.count == 3, "seed=\(seed)")
        #expect(spare[1] !== path[1] && spare[2] === path[2], "seed=\(seed)")
        world.kill(path[1])
        #expect(
            world.run(within: .seconds(5)) {
                client.currentPath(of: host).first === spare[0]
                    && client.currentPath(of: host)[1] === spare[1]
            },
            "seed=\(seed): the spare is not in use"
        )
        #expect(
            world.run(within: .seconds(60)) { streams.allSatisfy(\.isFinished) },
            "seed=\(seed)"
        )
        for stream in streams {
            #expect(
                stream.longestGap < .seconds(5),
                "seed=\(seed) \(stream.longestGap.seconds)\(client.history)"
            )
            #expect(stream.strayCount == 0, "seed=\(seed)")
        }
        #expect(
            flow.leases.count == 1 && flow.longestGap < .milliseconds(3_500),
            "seed=\(seed) \(flow.longestGap.seconds)"
        )
        #expect(client.currentPath(of: host)[1] !== path[1])
        world.expectSound()
    }

    @Test("when the guard dies, another takes over and the flows go on", arguments: seeds)
    func guardDies(seed: UInt64) throws {
        let (world, client, host, streams, flow) = try busy(settings(seed))
        let path = client.currentPath(of: host)
        try #require(path.count == 3, "seed=\(seed)")
        world.kill(path[0])
        #expect(
            world.run(within: .seconds(60)) { streams.allSatisfy(\.isFinished) },
            "seed=\(seed)"
        )
        for stream in streams {
            #expect(
                stream.longestGap < .seconds(5),
                "seed=\(seed) \(stream.longestGap.seconds)\(client.history)"
            )
            #expect(stream.strayCount == 0, "seed=\(seed)")
        }
        #expect(
            flow.leases.count == 1 && flow.longestGap < .milliseconds(3_500),
            "seed=\(seed) \(flow.longestGap.seconds)"
        )
        #expect(client.currentPath(of: host).first !== path[0], "seed=\(seed)")
        world.expectSound()
    }

    @Test("when the exit dies, flows end and the tunnel connects by another", arguments: seeds)
    func exitDies(seed: UInt64) throws {
        let (world, client, host, streams, flow) = try busy(settings(seed))
        let path = client.currentPath(of: host)
        try #require(path.count == 3, "seed=\(seed)")
        world.kill(path[2])
        let isBack = world.run(within: .seconds(30)) {
            client.isConnected(host) && client.currentPath(of: host).last !== path[2]
        }
        #expect(
            isBack,
            "seed=\(seed): \(String(describing: client.control.state(of: host.tunnel)))"
        )
        let stream = host.startStream()
        #expect(world.run(within: .seconds(20)) { stream.isFinished }, "seed=\(seed)")
        #expect(!streams.contains { $0.isFinished }, "seed=\(seed)")
        #expect(flow.leases.count <= 2)
        world.expectSound()
    }

    /// Runs until the loss of the exit is seen, and one that suits serves; the time in between.
    private func waitUntilBack(
        _ client: ClientNode,
        _ host: ClientHost,
        in world: World,
        through suits: (RelayNode?) -> Bool
    ) -> TimeSpan {
        let seed = world.settings.seed
        #expect(
            world.run(within: .seconds(5)) { !client.isConnected(host) },
            "seed=\(seed): nothing is missed"
        )
        let missed = world.now
        let isBack = world.run(within: .seconds(10)) {
            client.isConnected(host) && suits(client.currentPath(of: host).last)
        }
        #expect(isBack, "seed=\(seed)\(client.history)")
        return world.now - missed
    }

    @Test(
        "another exit serves within a second after a dead one is missed, if a spare stood",
        arguments: seeds
    )
    func exitIsReplaced(seed: UInt64) throws {
        var settings = settings(seed)
        settings.exitCount = 3
        settings.client.probesExits = true
        let (world, client, host, _, _) = try busy(settings)
        try #require(client.sparePath(of: host).count == 3, "seed=\(seed)")
        let path = client.currentPath(of: host)
        world.kill(path[2])
        let wait = waitUntilBack(client, host, in: world) { $0 !== path[2] }
        // What is lost on the way is said again after 0.3 s.
        let limit: TimeSpan = settings.quality.loss == 0 ? .seconds(1) : .milliseconds(1_600)
        #expect(wait < limit, "seed=\(seed)\(client.history)")
        world.expectSound()
    }

    @Test(
        "where two of three exits die at once, the third serves within a second",
        arguments: seeds
    )
    func exitsDieTogether(seed: UInt64) throws {
        var settings = settings(seed)
        settings.exitCount = 3
        settings.client.probesExits = true
        settings.quality.loss = 0
        let (world, client, host, _, _) = try busy(settings)
        let used = try #require(client.currentPath(of: host).last, "seed=\(seed)")
        let others = world.relays.filter { $0.member.flags.contains(.exit) && $0 !== used }
        try #require(others.count == 2, "seed=\(seed)")
        world.kill(used)
        world.kill(others[0])
        let wait = waitUntilBack(client, host, in: world) { $0 === others[1] }
        #expect(wait < .seconds(1), "seed=\(seed)\(client.history)")
        world.expectSound()
    }

    @Test(
        "when the middle ends its circuits, the exit stays, and what was begun beside it goes",
        arguments: seeds
    )
    func middleCloses(seed: UInt64) throws {
        let (world, client, host, streams, flow) = try busy(settings(seed))
        let path = client.currentPath(of: host)
        try #require(path.count == 3, "seed=\(seed)")
        path[1].endCircuits()
        var others: Set<CircuitID> = []
        let isFinished = world.run(within: .seconds(60)) {
            for report in client.control.circuitReports() where report.cause == .doubt {
                others.insert(report.id)
            }
            return streams.allSatisfy(\.isFinished)
        }
        #expect(isFinished, "seed=\(seed)")
        #expect(others.count == 1, "seed=\(seed)")
        #expect(client.currentPath(of: host).last === path[2], "seed=\(seed)\(client.history)")
        #expect(flow.leases.count == 1, "seed=\(seed)")
        #expect(streams.allSatisfy { $0.longestGap < .seconds(2) && $0.strayCount == 0 })
        let isGone = world.run(within: .seconds(5)) {
            !client.control.circuitReports().contains { others.contains($0.id) }
        }
        #expect(isGone, "seed=\(seed)")
        world.expectSound()
    }

    @Test("an exit that never answers the question for addresses is left", arguments: seeds)
    func muteExit(seed: UInt64) throws {
        // The same seed draws the same exit: the first world tells which.
        let first = try World(settings(seed))
        let (drawer, drawn) = try first.connectedClient()
        let exit = try #require(drawer.currentPath(of: drawn).last).index
        let world = try World(settings(seed))
        world.relays[exit].givesNoAddresses = true
        let client = world.addClient()
        let host = client.openTunnel()
        #expect(world.run(within: .seconds(10)) { client.isConnected(host) }, "seed=\(seed)")
        #expect(client.currentPath(of: host).last?.index != exit, "seed=\(seed)")
        world.expectSound()
    }

    @Test(
        "with an expired directory what stands goes on, and nothing new is built",
        arguments: seeds
    )
    func expiredDirectory(seed: UInt64) throws {
        let world = try World(settings(seed))
        let (client, host) = try world.connectedClient()
        var parameters = RelayRoster.parameters
        parameters.freshSeconds = 10
        parameters.validSeconds = 30
        client.setView(try world.roster.view(at: world.wall, parameters: parameters))
        world.run(for: .seconds(40))
        #expect(client.isConnected(host))
        world.kill(try #require(client.currentPath(of: host).first))
        let hasSaidWhy = world.run(within: .seconds(15)) {
            client.control.state(of: host.tunnel)
                == .connecting(reason: "the directory has expired")
        }
        #expect(hasSaidWhy, "\(String(describing: client.control.state(of: host.tunnel)))")
        world.run(for: .seconds(20))
        #expect(client.control.circuitReports().isEmpty)
        client.setView(try world.roster.view(at: world.wall))
        // A guard that is silent still is left only after its retries.
        #expect(
            world.run(within: .seconds(30)) { client.isConnected(host) },
            "seed=\(seed)\(client.history)"
        )
        world.expectSound()
    }

    @Test("a relay with an expired directory extends nothing")
    func expiredAtRelay() throws {
        var parameters = RelayRoster.parameters
        parameters.freshSeconds = 10
        parameters.validSeconds = 30
        let world = try World(settings(3))
        let old = try world.roster.view(at: world.wall, parameters: parameters)
        for relay in world.relays { relay.setView(old) }
        world.run(for: .seconds(40))
        let client = world.addClient()
        let host = client.openTunnel()
        world.run(for: .seconds(10))
        #expect(!client.isConnected(host))
        #expect(world.relays.allSatisfy { $0.control.linkCount <= 1 })
        let new = try world.roster.view(at: world.wall)
        for relay in world.relays { relay.setView(new) }
        #expect(world.run(within: .seconds(30)) { client.isConnected(host) })
        world.expectSound()
    }

    @Test("a renewed circuit keeps its lease", arguments: seeds)
    func renewed(seed: UInt64) throws {
        let (world, client, host, streams, flow) = try busy(settings(seed))
        client.renew(host)
        #expect(
            world.run(within: .seconds(60)) { streams.allSatisfy(\.isFinished) },
            "seed=\(seed)"
        )
        for stream in streams {
            #expect(
                stream.longestGap < .seconds(2),
                "seed=\(seed) \(stream.longestGap.seconds)\(client.history)"
            )
        }
        #expect(flow.leases.count == 1, "seed=\(seed)")
        world.expectSound()
    }

    @Test("the client's address changes in the middle of it (row 4)", arguments: seeds)
    func roams(seed: UInt64) throws {
        let (world, client, _, streams, flow) = try busy(settings(seed))
        for step in UInt16(1)...3 {
            var address = client.v4
            address.port += step
            if step == 2 { address.ip.low += 77 }
            client.roam(to: address)
            world.run(for: .seconds(1))
        }
        #expect(
            world.run(within: .seconds(60)) { streams.allSatisfy(\.isFinished) },
            "seed=\(seed)"
        )
        for stream in streams {
            #expect(
                stream.longestGap < .seconds(3),
                "seed=\(seed) \(stream.longestGap.seconds)\(client.history)"
            )
        }
        #expect(flow.leases.count == 1, "seed=\(seed)")
        world.expectSound()
    }

    @Test(
        "a middle that stands still for 30 s is dead; its late cells harm nobody (row 27)",
        arguments: seeds
    )
    func pausedMiddle(seed: UInt64) throws {
        let (world, client, host, streams, flow) = try busy(settings(seed))
        let path = client.currentPath(of: host)
        try #require(path.count == 3, "seed=\(seed)")
        world.pause(path[1])
        world.run(for: .seconds(30))
        #expect(client.isConnected(host), "seed=\(seed)")
        world.resume(path[1])
        #expect(
            world.run(within: .seconds(60)) { streams.allSatisfy(\.isFinished) },
            "seed=\(seed)"
        )
        for stream in streams {
            #expect(
                stream.longestGap < .seconds(5),
                "seed=\(seed) \(stream.longestGap.seconds)\(client.history)"
            )
        }
        #expect(flow.leases.count == 1, "seed=\(seed)")
        world.expectSound()
    }

    @Test("relays that restart lose their circuits, not their clients", arguments: seeds)
    func restarts(seed: UInt64) throws {
        let (world, client, host, _, _) = try busy(settings(seed))
        for position in 0..<3 {
            try #require(
                world.run(within: .seconds(20)) { client.isConnected(host) },
                "seed=\(seed)"
            )
            let path = client.currentPath(of: host)
            try #require(path.count == 3, "seed=\(seed)")
            world.kill(path[position])
            world.run(for: .milliseconds(300))
            world.restart(path[position])
            world.run(for: .seconds(5))
        }
        #expect(world.run(within: .seconds(30)) { client.isConnected(host) }, "seed=\(seed)")
        let stream = host.startStream()
        #expect(world.run(within: .seconds(20)) { stream.isFinished }, "seed=\(seed)")
        world.expectSound()
    }
}
