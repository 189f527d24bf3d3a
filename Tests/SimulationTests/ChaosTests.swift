import Base
import Circuits
import ClientCore
import Links
import Simulation
import TestSupport
import Testing

@Suite("Chaos and healing")
struct ChaosTests {
    @Test(
        "after a minute of faults of all kinds everything heals within 30 s (row 31)",
        arguments: SweepSeeds.range(default: 200)
    )
    func heals(seed: UInt64) throws {
        var draws = TestDraws(seed: seed)
        let world = try World(Self.settings(seed, &draws))
        var hosts: [(ClientNode, ClientHost)] = []
        for _ in 0..<3 {
            let client = world.addClient()
            for _ in 0..<1 + draws.next(below: 2) { hosts.append((client, client.openTunnel())) }
        }
        world.run(for: .seconds(5))
        for _ in 0..<60 {
            Self.harm(world, hosts, &draws)
            if draws.chance(30) {
                let (_, host) = hosts[Int(draws.next(below: UInt64(hosts.count)))]
                Self.load(host, &draws)
            }
            world.run(for: .seconds(1))
        }
        Self.heal(world)
        let isHealed = world.run(within: .seconds(30)) {
            hosts.allSatisfy { $0.isConnected($1) }
        }
        #expect(isHealed, "seed=\(seed)\(hosts.map(\.0.history))")
        let streams = hosts.map { _, host in
            var settings = Stream.Settings()
            settings.byteCount = 30_000
            return host.startStream(settings)
        }
        let isUsable = world.run(within: .seconds(30)) { streams.allSatisfy(\.isFinished) }
        #expect(
            isUsable,
            "seed=\(seed) \(streams.map(\.arrivedByteCount))\(hosts.map(\.0.history))"
        )
        world.expectSound()
    }

    private static func settings(_ seed: UInt64, _ draws: inout TestDraws) -> WorldSettings {
        var settings = WorldSettings(seed: seed)
        settings.exitCount = 3
        settings.quality.latency = .milliseconds(2 + draws.next(below: 30))
        settings.quality.jitter = .milliseconds(draws.next(below: 5))
        settings.quality.loss = draws.chance(50) ? 0 : draws.next(below: 200)
        settings.usesOffload = draws.chance(50)
        settings.mailboxTime = draws.chance(50) ? .microseconds(draws.next(below: 500)) : .zero
        settings.client.rotation = draws.chance(50) ? .seconds(15) : .seconds(600)
        settings.circuitIdleLimit = draws.chance(30) ? .seconds(10) : .seconds(600)
        if draws.chance(30) {
            settings.timing.rekeyAge = .seconds(3)
            settings.timing.graceLimit = .seconds(2)
        }
        if draws.chance(20) { settings.client.method = .telescoped }
        return settings
    }

    private static func load(_ host: ClientHost, _ draws: inout TestDraws) {
        var datagrams = DatagramFlow.Settings()
        datagrams.count = 100
        datagrams.byteCount = Int(32 + draws.next(below: 1_400))
        datagrams.isV6 = draws.chance(50)
        host.startFlow(datagrams)
        var stream = Stream.Settings()
        stream.byteCount = 40_000
        stream.isDownload = draws.chance(50)
        host.startStream(stream)
    }

    /// One fault, or the end of one.
    private static func harm(
        _ world: World,
        _ hosts: [(ClientNode, ClientHost)],
        _ draws: inout TestDraws
    ) {
        let relay = world.relays[Int(draws.next(below: UInt64(world.relays.count)))]
        let node = world.nodes[Int(draws.next(below: UInt64(world.nodes.count)))]
        let other = world.nodes[Int(draws.next(below: UInt64(world.nodes.count)))]
        let (client, host) = hosts[Int(draws.next(below: UInt64(hosts.count)))]
        switch draws.next(below: 12) {
        case 0: world.kill(relay)
        case 1, 2: if relay.condition == .down { world.restart(relay) }
        case 3: if relay.condition == .up { world.pause(relay) }
        case 4, 5: if relay.condition == .paused { world.resume(relay) }
        case 6: world.network.setBlocked(true, from: node.index, to: other.index)
        case 7:
            world.network.setBlocked(true, from: node.index, to: other.index)
            world.network.setBlocked(true, from: other.index, to: node.index)
        case 8: world.network.unblockAll()
        case 9:
            var quality = world.settings.quality
            quality.loss = draws.next(below: 2_000)
            quality.reordering = draws.next(below: 3_000)
            quality.duplication = draws.next(below: 2_000)
            quality.corruption = draws.next(below: 500)
            world.network.quality = quality
        case 10:
            var address = client.v4
            address.port = UInt16(50_000 + draws.next(below: 10_000))
            client.roam(to: address)
        default: client.renew(host)
        }
    }

    private static func heal(_ world: World) {
        world.network.unblockAll()
        world.network.quality = world.settings.quality
        for relay in world.relays {
            if relay.condition == .down { world.restart(relay) }
            if relay.condition == .paused { world.resume(relay) }
        }
    }
}
