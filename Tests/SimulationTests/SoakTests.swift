import Base
import ClientCore
import RelayCore
import Simulation
import Testing

@Suite("A day in which a node dies each minute (row 86)", .timeLimit(.minutes(10)))
struct SoakTests {
    /// What a world holds that could grow.
    private struct Size: CustomStringConvertible {
        var circuits = 0
        var pending = 0

        var description: String { "\(circuits) circuits, \(pending) events" }
    }

    private static func size(_ world: World) -> Size {
        var size = Size()
        for relay in world.relays where relay.condition == .up {
            size.circuits += relay.control.circuitCount
        }
        size.pending = world.pendingEvents
        return size
    }

    @Test("24 hours, 1,440 deaths: rules hold, clients are served, and nothing grows")
    func day() throws {
        var draws = TestDraws(seed: 86)
        var settings = WorldSettings(seed: 86)
        (settings.guardCount, settings.middleCount, settings.exitCount) = (4, 5, 3)
        settings.clientFlowLimit = 256
        let world = try World(settings)
        let pairs = (0..<2).map { _ in
            let client = world.addClient()
            return (client, client.openTunnel())
        }
        var dead: RelayNode?
        var first = Size()
        var served = 0
        let minutes = 24 * 60
        for minute in 0..<minutes {
            if let dead { world.restart(dead) }
            let victim = world.relays[Int(draws.next(below: UInt64(world.relays.count)))]
            world.kill(victim)
            dead = victim
            // The last seconds of a minute: whoever was hit has other circuits by then.
            world.run(for: .seconds(50))
            let sent = pairs.reduce(0) { $0 + $1.1.answeredCount }
            for (_, host) in pairs {
                host.endFlows { _ in true }
                var flow = DatagramFlow.Settings()
                flow.count = 10
                flow.interval = .milliseconds(200)
                host.startFlow(flow)
            }
            world.run(for: .seconds(10))
            let answered = pairs.reduce(0) { $0 + $1.1.answeredCount } - sent
            if answered >= 18 { served += 1 }
            if minute == 119 { first = Self.size(world) }
        }
        let last = Self.size(world)
        #expect(served > minutes * 97 / 100, "\(served) of \(minutes) minutes")
        // No slope: within twice of what it was after two hours.
        #expect(last.circuits <= 2 * first.circuits + 20, "\(first), then \(last)")
        #expect(last.pending <= 2 * first.pending + 100, "\(first), then \(last)")
        #expect(pairs.allSatisfy { $0.isConnected($1) }, "\(pairs.map(\.0.history.count))")
        world.expectSound()
    }
}
