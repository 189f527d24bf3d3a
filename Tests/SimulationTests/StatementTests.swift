import Base
import ClientCore
import Simulation
import Testing
import Wire

@Suite("What relays say of their directories and clocks (matrix row 52)")
struct StatementTests {
    /// One relay of each kind: every circuit has the same three hops.
    private func world(_ seed: UInt64) throws -> World {
        var settings = WorldSettings(seed: seed)
        (settings.guardCount, settings.middleCount, settings.exitCount) = (1, 1, 1)
        settings.client.keepsSpare = false
        return try World(settings)
    }

    @Test("where all have one directory and right clocks, every hop counts as such")
    func same() throws {
        let world = try world(1)
        let (client, host) = try world.connectedClient()
        client.renew(host)
        #expect(
            world.run(within: .seconds(10)) { client.control.statements.same == 6 },
            "\(client.control.statements)"
        )
        let statements = client.control.statements
        #expect(statements.older + statements.newer + statements.none == 0)
        #expect(statements.conflicting == 0)
        #expect(statements.clockOffsetMinutes == 0)
        world.expectSound()
    }

    @Test("another directory of the same time, an older and a newer one are told apart")
    func different() throws {
        let world = try world(2)
        let time = WallTime(seconds: 1_800_000_000)
        var parameters = RelayRoster.parameters
        parameters.freshSeconds += 1
        let views = [
            try world.roster.view(at: time, parameters: parameters),
            try world.roster.view(at: WallTime(seconds: time.seconds - 60)),
            try world.roster.view(at: WallTime(seconds: time.seconds + 60)),
        ]
        for (relay, view) in zip(world.relays, views) { relay.setView(view) }
        let (client, _) = try world.connectedClient()
        let statements = client.control.statements
        #expect(statements.conflicting == 1)
        #expect(statements.older == 1)
        #expect(statements.newer == 1)
        #expect(statements.same == 0)
        world.expectSound()
    }

    @Test(
        "the client's offset is what most relays say, not what one claims",
        arguments: [([7, 7, 7], 7), ([-9, -8, -9], -9), ([600, 0, 0], 0), ([-600, 1, 0], 0)]
    )
    func clocks(minutes: [Int64], expected: Int) throws {
        let world = try world(3)
        for (relay, minutes) in zip(world.relays, minutes) {
            relay.clockOffsetSeconds = minutes * 60
        }
        let (client, _) = try world.connectedClient()
        #expect(client.control.statements.clockOffsetMinutes == expected)
        world.expectSound()
    }
}
