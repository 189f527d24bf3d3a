import Base
import ClientCore
import RelayCore
import Simulation
import Testing
import Wire

@Suite("Measuring exits")
struct ExitSurveyTests {
    private func world(_ seed: UInt64) throws -> World {
        var settings = WorldSettings(seed: seed)
        settings.quality.latency = .milliseconds(5)
        return try World(settings)
    }

    @Test(
        "each exit asked for is measured over a circuit of its own, of which nothing stays",
        arguments: 0..<5 as Range<UInt64>
    )
    func measures(seed: UInt64) throws {
        let world = try world(seed)
        // Without a tunnel, as a daemon that is not connected.
        let client = world.addClient()
        let exits = world.relays.filter { $0.member.flags.contains(.exit) }
        try #require(exits.count >= 2)
        for (token, exit) in exits.enumerated() { client.measure(exit: exit, token: UInt64(token)) }
        let isMeasured = world.run(within: .seconds(5)) {
            exits.indices.allSatisfy { client.answer(to: UInt64($0)) != nil }
        }
        try #require(isMeasured, "seed=\(seed)")
        for (token, exit) in exits.enumerated() {
            let span = try #require(client.answer(to: UInt64(token))?.span)
            // Three links there and back, and no queue.
            #expect((30..<40).contains(span.milliseconds), "seed=\(seed)")
            #expect(client.control.exitTrips[exit.member.id] == span)
            #expect(client.control.exitBuilds[exit.member.id] != nil)
        }
        #expect(client.control.circuitReports().isEmpty)
        world.run(for: .seconds(2))
        #expect(world.relays.allSatisfy { $0.control.circuitCount == 0 }, "seed=\(seed)")
        let sent = client.sentDatagrams
        world.run(for: .seconds(60))
        #expect(client.sentDatagrams == sent, "no link is kept alive for it, seed=\(seed)")
        world.expectSound()
    }

    @Test("a client with a tunnel keeps it, and an exit that is down gets no answer")
    func down() throws {
        let world = try world(7)
        let (client, host) = try world.connectedClient()
        let used = client.currentPath(of: host)
        let exit = try #require(
            world.relays.first { relay in
                relay.member.flags.contains(.exit) && !used.contains { $0 === relay }
            }
        )
        world.kill(exit)
        client.measure(exit: exit, token: 99)
        #expect(world.run(within: .seconds(30)) { client.answer(to: 99) != nil })
        #expect(client.answer(to: 99)?.span == nil)
        #expect(client.isConnected(host))
        #expect(client.currentPath(of: host).map(\.member.id) == used.map(\.member.id))
        world.expectSound()
    }
}
