import Base
import Circuits
import ClientCore
import Simulation
import Testing

@Suite("Building circuits")
struct BuildTimeTests {
    /// One relay of each kind, 20 ms there and back between neighbours.
    private func world(_ seed: UInt64, _ change: (inout WorldSettings) -> Void = { _ in }) throws
        -> World
    {
        var settings = WorldSettings(seed: seed)
        (settings.guardCount, settings.middleCount, settings.exitCount) = (1, 1, 1)
        settings.quality.latency = .milliseconds(10)
        settings.client.keepsSpare = false
        change(&settings)
        return try World(settings)
    }

    /// How long the circuit of `host` took, from its beginning to its last hop.
    private func buildTime(of host: ClientHost, _ client: ClientNode) throws -> TimeSpan {
        let report = try #require(
            client.control.circuitReports().first { $0.tunnel == host.tunnel }
        )
        return try #require(report.buildTime)
    }

    @Test("a pipelined circuit over standing links takes one round trip of its path")
    func pipelined() throws {
        let world = try world(1)
        let (client, _) = try world.connectedClient()
        let second = client.openTunnel()
        #expect(world.run(within: .seconds(1)) { client.isConnected(second) })
        let time = try buildTime(of: second, client)
        #expect(time >= .milliseconds(60) && time <= .milliseconds(62), "\(time.milliseconds) ms")
        world.expectSound()
    }

    @Test("where no link stands, each adds one round trip of its own")
    func cold() throws {
        let world = try world(2)
        let (client, host) = try world.connectedClient()
        let time = try buildTime(of: host, client)
        #expect(time >= .milliseconds(120) && time <= .milliseconds(124), "\(time.milliseconds) ms")
        // What it suggests exits by is measured: three relays, 20 ms there and back each.
        let exit = try #require(client.currentPath(of: host).last)
        let trip = try #require(client.control.exitTrips[exit.member.id])
        #expect(trip >= .milliseconds(60) && trip <= .milliseconds(64), "\(trip.milliseconds) ms")
        #expect(client.control.exitTrips.count == 1)
        world.expectSound()
    }

    @Test("a telescoped circuit takes the round trips to each hop, one after the other")
    func telescoped() throws {
        let world = try world(3) { $0.client.method = .telescoped }
        let (client, _) = try world.connectedClient()
        let second = client.openTunnel()
        #expect(world.run(within: .seconds(1)) { client.isConnected(second) })
        let time = try buildTime(of: second, client)
        #expect(time >= .milliseconds(120) && time <= .milliseconds(124), "\(time.milliseconds) ms")
        world.expectSound()
    }

    @Test(
        "a relay whose clock is an hour off refuses early data, not circuits (row 32)",
        arguments: [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]]
    )
    func wrongClock(relays: [Int]) throws {
        for offset: Int64 in [3_600, -3_600] {
            let world = try world(4)
            for index in relays { world.relays[index].clockOffsetSeconds = offset }
            let (client, host) = try world.connectedClient(within: .seconds(2))
            let time = try buildTime(of: host, client)
            // Each of the first two hops that refuses costs at most a path's round trip more.
            #expect(time <= .milliseconds(124 + 60 * 3), "\(relays): \(time.milliseconds) ms")
            host.ping()
            #expect(world.run(within: .seconds(1)) { host.pings[0].answered != nil })
            world.expectSound()
        }
    }

    @Test("a client whose clock is an hour off connects all the same (row 32)")
    func wrongClientClock() throws {
        let world = try world(5)
        let client = world.addClient()
        client.clockOffsetSeconds = -3_600
        let host = client.openTunnel()
        #expect(world.run(within: .seconds(2)) { client.isConnected(host) })
        world.expectSound()
    }

    @Test("pings tell the round trip of each hop")
    func hops() throws {
        let world = try world(6)
        let (client, _) = try world.connectedClient()
        let circuit = try #require(client.control.circuitReports().first)
        for hop in 1...3 { #expect(client.ping(circuit.id, hop: hop)) }
        world.run(for: .seconds(1))
        let report = try #require(client.control.circuitReports().first)
        let times = report.roundTrips.map { $0?.milliseconds ?? 0 }
        for (index, time) in times.enumerated() {
            let expected = Double(index + 1) * 20
            #expect(time >= expected && time < expected + 1, "hop \(index + 1): \(time) ms")
        }
        world.expectSound()
    }
}
