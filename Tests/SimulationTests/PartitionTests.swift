import Base
import ClientCore
import Paths
import Simulation
import Testing

@Suite("Networks that part and heal")
struct PartitionTests {
    private static let seeds: Range<UInt64> = 0..<5

    private func block(_ isBlocked: Bool, _ world: World, from: [Node], to: [Node]) {
        for one in from {
            for other in to {
                world.network.setBlocked(isBlocked, from: one.index, to: other.index)
            }
        }
    }

    /// A connected client with a slow download and UDP packets.
    private func busy(_ seed: UInt64) throws -> (
        World, ClientNode, ClientHost, Stream, DatagramFlow
    ) {
        var settings = WorldSettings(seed: seed)
        settings.quality.jitter = .milliseconds(2)
        let world = try World(settings)
        let (client, host) = try world.connectedClient()
        var stream = Stream.Settings()
        stream.byteCount = 500_000
        stream.window = 2
        var datagrams = DatagramFlow.Settings()
        datagrams.count = 2_000
        let (running, flow) = (host.startStream(stream), host.startFlow(datagrams))
        world.run(for: .seconds(2))
        return (world, client, host, running, flow)
    }

    @Test(
        "nothing back, or nothing out, or both, for 20 s: flows go on after it (row 30)",
        arguments: seeds,
        0..<3
    )
    func client(seed: UInt64, kind: Int) throws {
        let (world, client, host, stream, flow) = try busy(seed)
        if kind != 0 { block(true, world, from: [client], to: world.relays) }
        if kind != 1 { block(true, world, from: world.relays, to: [client]) }
        world.run(for: .seconds(20))
        #expect(!client.isConnected(host), "seed=\(seed)")
        let answered = flow.answeredCount
        world.network.unblockAll()
        #expect(
            world.run(within: .seconds(15)) { client.isConnected(host) },
            "seed=\(seed)\(client.history)"
        )
        #expect(world.run(within: .seconds(60)) { stream.isFinished }, "seed=\(seed)")
        #expect(flow.answeredCount > answered && flow.leases.count == 1, "seed=\(seed)")
        #expect(stream.longestGap < .seconds(36), "seed=\(seed)")
        world.expectSound()
    }

    @Test("relays that do not reach each other for 10 s", arguments: seeds)
    func relays(seed: UInt64) throws {
        let (world, client, host, stream, flow) = try busy(seed)
        block(true, world, from: world.relays, to: world.relays)
        world.run(for: .seconds(10))
        world.network.unblockAll()
        #expect(
            world.run(within: .seconds(30)) { client.isConnected(host) },
            "seed=\(seed)\(client.history)"
        )
        let next = host.startStream()
        #expect(world.run(within: .seconds(30)) { next.isFinished }, "seed=\(seed)")
        _ = (stream, flow)
        world.expectSound()
    }

    @Test("all ways are clogged one by one and cleared in another order (row 31)", arguments: seeds)
    func swizzle(seed: UInt64) throws {
        let (world, client, host, _, _) = try busy(seed)
        var draws = TestDraws(seed: seed)
        var ways: [(Int, Int)] = []
        for from in world.nodes.indices {
            for to in world.nodes.indices where from != to { ways.append((from, to)) }
        }
        func shuffle() {
            for index in ways.indices.reversed() {
                ways.swapAt(index, Int(draws.next(below: UInt64(index + 1))))
            }
        }
        shuffle()
        for (from, to) in ways {
            world.network.setBlocked(true, from: from, to: to)
            world.run(for: .milliseconds(100))
        }
        #expect(!client.isConnected(host), "seed=\(seed)")
        shuffle()
        for (from, to) in ways {
            world.network.setBlocked(false, from: from, to: to)
            world.run(for: .milliseconds(100))
        }
        #expect(
            world.run(within: .seconds(30)) { client.isConnected(host) },
            "seed=\(seed)\(client.history)"
        )
        let stream = host.startStream()
        #expect(world.run(within: .seconds(30)) { stream.isFinished }, "seed=\(seed)")
        world.expectSound()
    }

    @Test("a guard away for a minute or a day is not forgotten (row 28)", arguments: [60, 86_400])
    func guardAway(seconds: UInt64) throws {
        let (world, client, host, _, _) = try busy(7)
        let before = client.control.paths.guards.members.map(\.id)
        let first = try #require(client.currentPath(of: host).first)
        world.kill(first)
        world.run(for: .seconds(seconds))
        #expect(client.isConnected(host))
        world.restart(first)
        #expect(client.control.paths.guards.members.map(\.id) == before)
        let stream = host.startStream()
        #expect(world.run(within: .seconds(30)) { stream.isFinished })
        world.expectSound()
    }

    @Test("with all guards but one blocked the client uses that one and keeps its list (row 29)")
    func guardsBlocked() throws {
        let (world, client, host, _, _) = try busy(8)
        let before = client.control.paths.guards.members.map(\.id)
        let last = world.relays[0]
        block(true, world, from: [client], to: world.relays.filter { $0 !== last })
        #expect(
            world.run(within: .seconds(60)) {
                client.isConnected(host) && client.currentPath(of: host).first === last
            }
        )
        #expect(client.control.paths.guards.members.map(\.id) == before)
        let stream = host.startStream()
        #expect(world.run(within: .seconds(30)) { stream.isFinished })
        world.expectSound()
    }
}
