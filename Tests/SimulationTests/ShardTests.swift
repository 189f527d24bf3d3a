import Base
import RelayCore
import Simulation
import Testing

@Suite("Relays of several shards")
struct ShardTests {
    private struct Traffic {
        var world: World
        var streams: [Stream]
        var flows: [DatagramFlow]
    }

    /// Six clients with streams both ways and datagrams, over relays of `shardCount` shards.
    private func traffic(seed: UInt64, shardCount: Int) throws -> Traffic {
        var settings = WorldSettings(seed: seed)
        settings.shardCount = shardCount
        settings.guardCount = 2
        settings.middleCount = 2
        settings.exitCount = 1
        settings.quality.jitter = .milliseconds(3)
        settings.quality.reordering = 1_000
        settings.quality.loss = 100
        settings.quality.duplication = 100
        settings.mailboxTime = seed % 2 == 0 ? .microseconds(100) : .zero
        settings.usesOffload = seed % 3 != 0
        let world = try World(settings)
        var traffic = Traffic(world: world, streams: [], flows: [])
        let clients = try (0..<6).map { _ in try world.connectedClient() }
        for (_, host) in clients {
            var download = Stream.Settings()
            download.byteCount = 150_000
            var upload = download
            upload.isDownload = false
            traffic.streams += [host.startStream(download), host.startStream(upload)]
            var datagrams = DatagramFlow.Settings()
            datagrams.count = 100
            traffic.flows.append(host.startFlow(datagrams))
        }
        return traffic
    }

    @Test(
        "every byte arrives, whichever shard the kernel gives it to",
        arguments: 0..<6 as Range<UInt64>
    )
    func transfers(seed: UInt64) throws {
        let traffic = try traffic(seed: seed, shardCount: 4)
        let world = traffic.world
        let isDone = world.run(within: .seconds(120)) {
            traffic.streams.allSatisfy(\.isFinished) && traffic.flows.allSatisfy(\.isSent)
        }
        #expect(isDone, "seed=\(seed) \(traffic.streams.map(\.arrivedByteCount))")
        #expect(traffic.streams.allSatisfy { $0.strayCount == 0 }, "seed=\(seed)")
        #expect(traffic.flows.allSatisfy { $0.leases.count == 1 }, "seed=\(seed)")
        world.expectSound()
        // The work was shared, and what came to the wrong shard found its way.
        let exit = try #require(world.relays.last)
        #expect(exit.counters.handedOver > 100, "seed=\(seed)")
        let busiest = world.relays.map { relay in relay.carriedCells.count { $0 > 0 } }.max()
        #expect(try #require(busiest) > 1, "seed=\(seed)")
    }

    @Test("one shard hands nothing over")
    func single() throws {
        let traffic = try traffic(seed: 1, shardCount: 1)
        #expect(
            traffic.world.run(within: .seconds(120)) { traffic.streams.allSatisfy(\.isFinished) }
        )
        #expect(traffic.world.relays.allSatisfy { $0.counters.handedOver == 0 })
        traffic.world.expectSound()
    }
}
