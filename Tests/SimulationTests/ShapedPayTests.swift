import Base
import ClientCore
import RelayCore
import Simulation
import Testing
import Tickets
import Wire

@Suite("Cover is paid as any cell is", .tags(.shapes))
struct ShapedPayTests {
    @Test("an idle mix circuit pays guard and middle for its slots, and the exit for nothing")
    func idle() throws {
        var settings = WorldSettings(seed: 41)
        settings.pay = PaySettings()
        let world = try World(settings)
        let client = world.addClient()
        let host = client.openTunnel(shape: .mix(.tenMilliseconds))
        let isConnected = world.run(within: .seconds(60)) { client.isConnected(host) }
        try #require(isConnected, "\(client.history)")
        let path = client.currentPath(of: host)
        try #require(path.count == 3)
        let before = path.map { $0.control.earnings.served }
        world.run(for: .seconds(60))
        #expect(client.currentPath(of: host).map(\.index) == path.map(\.index), "\(client.history)")
        let served = zip(path, before).map { $0.control.earnings.served - $1 }
        // 200 cells a second for a minute are 46 ticks of 256.
        #expect(served[0] >= 40 && served[1] >= 40, "\(served)")
        #expect(served[2] <= 10, "\(served)")
        let flow = host.startFlow(ShapeTests.flow)
        let arrived = world.run(within: .seconds(20)) {
            flow.answeredCount == flow.settings.count
        }
        #expect(arrived, "\(flow.arrivedCount), \(flow.answeredCount) \(client.history)")
        world.expectSound()
    }

    @Test("sixty clients of mix at nine relays: every cell leaves in its slot")
    func crowd() throws {
        let world = try World(WorldSettings(seed: 43))
        let clients = (0..<60).map { _ in world.addClient() }
        let hosts = clients.map { $0.openTunnel(shape: .mix(.tenMilliseconds)) }
        let areConnected = world.run(within: .seconds(60)) {
            zip(clients, hosts).allSatisfy { $0.isConnected($1) }
        }
        try #require(areConnected)
        for host in hosts { host.startFlow(ShapeTests.flow) }
        world.run(for: .seconds(10))
        for host in hosts { #expect(host.flows[0].answeredCount == host.flows[0].settings.count) }
        #expect(world.relays.map(\.counters.unkeptCells).reduce(0, +) == 0)
        #expect(world.relays.map(\.counters.lateReleases).reduce(0, +) == 0)
        world.expectSound()
    }
}
