import Base
import ClientCore
import Paths
import Simulation
import Testing

@Suite("Guards that are down when a client starts")
struct DeadGuardTests {
    /// The guard that clients of this seed try first.
    private func firstGuard(seed: UInt64) throws -> Int {
        let world = try World(WorldSettings(seed: seed))
        let (client, host) = try world.connectedClient()
        let relay = try #require(client.currentPath(of: host).first)
        return try #require(world.relays.firstIndex { $0 === relay })
    }

    @Test(
        "the next guard is tried beside the one that does not answer, before that is given up",
        arguments: 0..<10 as Range<UInt64>
    )
    func oneDown(seed: UInt64) throws {
        let index = try firstGuard(seed: seed)
        let world = try World(WorldSettings(seed: seed))
        let dead = world.relays[index]
        world.kill(dead)
        let client = world.addClient()
        let host = client.openTunnel()
        #expect(
            world.run(within: .seconds(2)) { client.isConnected(host) },
            "seed=\(seed)\(client.history)"
        )
        #expect(client.control.paths.guards.members.contains { $0.id == dead.member.id })
        world.expectSound()
    }

    @Test("where two of three are down, the third is reached", arguments: 0..<5 as Range<UInt64>)
    func twoDown(seed: UInt64) throws {
        let world = try World(WorldSettings(seed: seed))
        let living = Int(seed % 3)
        for index in 0..<3 where index != living { world.kill(world.relays[index]) }
        let client = world.addClient()
        let host = client.openTunnel()
        #expect(
            world.run(within: .seconds(4)) { client.isConnected(host) },
            "seed=\(seed)\(client.history)"
        )
        #expect(client.currentPath(of: host).first === world.relays[living])
        world.expectSound()
    }

    @Test("a guard that is slow, not dead, is waited for where there is no other")
    func slow() throws {
        var settings = WorldSettings(seed: 3)
        settings.guardCount = 1
        settings.quality.latency = .milliseconds(400)
        let world = try World(settings)
        let client = world.addClient()
        let host = client.openTunnel()
        #expect(
            world.run(within: .seconds(10)) { client.isConnected(host) },
            "\(client.history)"
        )
        world.expectSound()
    }
}
