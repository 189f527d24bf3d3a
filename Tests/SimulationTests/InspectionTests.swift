import Base
import Circuits
import ClientCore
import Simulation
import Testing
import Wire

@Suite("Looking into circuits")
struct InspectionTests {
    private func world(_ seed: UInt64, loss: UInt64 = 0) throws -> World {
        var settings = WorldSettings(seed: seed)
        settings.quality.latency = .milliseconds(5)
        settings.quality.loss = loss
        return try World(settings)
    }

    private func current(_ client: ClientNode) throws -> ClientControl.CircuitReport {
        try #require(client.control.circuitReports().first { $0.isCurrent })
    }

    private func series(
        _ hop: HopIndex,
        count: Int,
        at world: World,
        interval: TimeSpan = .milliseconds(2)
    ) -> EchoSeries {
        EchoSeries(
            hop: hop,
            cellCount: count,
            interval: interval,
            patience: .milliseconds(500),
            now: world.now
        )
    }

    @Test("each hop answers for itself, as far away as it is", arguments: 0..<3 as Range<UInt64>)
    func echoes(seed: UInt64) throws {
        let world = try world(seed)
        let (client, _) = try world.connectedClient()
        let circuit = try current(client)
        for (token, hop) in HopIndex.all.enumerated() {
            #expect(
                client.ping(circuit.id, by: series(hop, count: 50, at: world), token: UInt64(token))
            )
        }
        #expect(world.run(within: .seconds(3)) { client.outcome(of: 2) != nil })
        for (token, hop) in HopIndex.all.enumerated() {
            let outcome = try #require(client.outcome(of: UInt64(token)))
            #expect(outcome.hop == hop)
            #expect(outcome.sent == 50)
            #expect(outcome.roundTrips.count == 50, "nothing is lost here, seed=\(seed)")
            let links = Double(hop.rawValue)
            for trip in outcome.roundTrips {
                #expect((links * 10..<links * 10 + 3).contains(trip.milliseconds), "seed=\(seed)")
            }
        }
        #expect(try current(client).roundTrips.allSatisfy { $0 != nil })
        world.expectSound()
    }

    @Test("lost echoes stay lost, and as many as links lose", arguments: 0..<3 as Range<UInt64>)
    func losses(seed: UInt64) throws {
        let world = try world(seed, loss: 500)
        let (client, _) = try world.connectedClient()
        let circuit = try current(client)
        #expect(client.ping(circuit.id, by: series(.first, count: 4_000, at: world), token: 7))
        #expect(world.run(within: .seconds(20)) { client.outcome(of: 7) != nil })
        let outcome = try #require(client.outcome(of: 7))
        // There and back over one link: 0.95 squared comes back; four deviations are 0.019.
        let share = Double(outcome.roundTrips.count) / Double(outcome.sent)
        #expect((0.8835..<0.9215).contains(share), "\(share), seed=\(seed)")
        world.expectSound()
    }

    @Test("a hop says what it carried, whether or not anybody pays")
    func reports() throws {
        let world = try world(1)
        let (client, _) = try world.connectedClient()
        let circuit = try current(client)
        for hop in HopIndex.all { #expect(client.askReport(of: hop, over: circuit.id)) }
        func said() -> [HopReport] {
            client.control.circuitReports().first { $0.id == circuit.id }?
                .statements.compactMap { $0?.report } ?? []
        }
        #expect(world.run(within: .seconds(2)) { said().count == 3 })
        let before = said()
        #expect(client.ping(circuit.id, by: series(.third, count: 100, at: world), token: 1))
        #expect(world.run(within: .seconds(3)) { client.outcome(of: 1) != nil })
        for hop in HopIndex.all { #expect(client.askReport(of: hop, over: circuit.id)) }
        #expect(
            world.run(within: .seconds(2)) {
                zip(before, said()).allSatisfy { $1.forwardIn >= $0.forwardIn + 100 }
            }
        )
        let after = said()
        try #require(after.count == 3)
        for (old, new) in zip(before, after).prefix(2) {
            #expect(new.forwardOut - old.forwardOut >= 100)
            #expect(new.backwardIn - old.backwardIn >= 100)
        }
        #expect(after[2].backwardOut - before[2].backwardOut >= 100)
        world.expectSound()
    }

    @Test("a circuit closed by hand gives its lease to the spare, and says why")
    func closing() throws {
        let world = try world(2)
        let (client, host) = try world.connectedClient()
        #expect(world.run(within: .seconds(5)) { !client.sparePath(of: host).isEmpty })
        let old = try current(client)
        #expect(client.closeCircuit(old.id))
        #expect(!client.closeCircuit(old.id), "it is gone")
        #expect(
            world.run(within: .seconds(5)) {
                client.isConnected(host)
                    && client.control.circuitReports().contains { $0.isCurrent && $0.id != old.id }
            }
        )
        let new = try current(client)
        #expect(new.cause == .replacement(of: old.id, reason: "closed by hand"))
        #expect(new.hops[2].id == old.hops[2].id, "the exit stays")
        let ended = client.circuitNotices.filter { $0.id == old.id }.last
        #expect(ended?.change == .ended(reason: "closed by hand"))
        #expect(client.circuitNotices.first?.change == .begun(.first))
        world.expectSound()
    }

    @Test("a series of a circuit that goes away ends, and so does one for a hop that is dead")
    func endings() throws {
        let world = try world(3)
        let (client, host) = try world.connectedClient()
        let circuit = try current(client)
        #expect(client.ping(circuit.id, by: series(.third, count: 5_000, at: world), token: 1))
        world.run(for: .milliseconds(200))
        #expect(client.closeCircuit(circuit.id))
        #expect(world.run(within: .seconds(1)) { client.outcome(of: 1) != nil })
        #expect((50..<5_000).contains(client.outcome(of: 1)?.sent ?? 0))
        #expect(!client.ping(circuit.id, by: series(.first, count: 1, at: world), token: 2))

        #expect(world.run(within: .seconds(5)) { client.isConnected(host) })
        let next = try current(client)
        let middle = try #require(
            world.relays.first { $0.member.id == next.hops[1].id }
        )
        world.kill(middle)
        #expect(client.ping(next.id, by: series(.second, count: 1, at: world), token: 3))
        #expect(world.run(within: .seconds(2)) { client.outcome(of: 3) != nil })
        #expect(client.outcome(of: 3)?.roundTrips.isEmpty == true)
        world.expectSound()
    }

    @Test("there are as many series at a time as there may be; one more ends with nothing sent")
    func bound() throws {
        let world = try world(4)
        let (client, _) = try world.connectedClient()
        let circuit = try current(client)
        for token in 0...EchoSeries.seriesLimit {
            let series = series(.first, count: 100, at: world, interval: .milliseconds(10))
            #expect(client.ping(circuit.id, by: series, token: UInt64(token)))
        }
        let last = UInt64(EchoSeries.seriesLimit)
        #expect(world.run(within: .milliseconds(100)) { client.outcome(of: last) != nil })
        #expect(client.outcome(of: last)?.sent == 0)
        #expect(world.run(within: .seconds(4)) { client.outcome(of: last - 1) != nil })
        #expect(client.outcome(of: last - 1)?.roundTrips.count == 100)
        world.expectSound()
    }
}
