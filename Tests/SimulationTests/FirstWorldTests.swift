import Base
import Simulation
import Testing

@Suite("A first world")
struct FirstWorldTests {
    @Test("a client connects, and a packet crosses three hops and comes back")
    func crosses() throws {
        let world = try World(WorldSettings(seed: 1))
        let client = world.addClient()
        let host = client.openTunnel()
        #expect(world.run(within: .seconds(5)) { client.isConnected(host) })
        host.ping()
        let flow = host.startFlow()
        #expect(world.run(within: .seconds(5)) { flow.answeredCount == flow.settings.count })
        #expect(host.pings[0].answered != nil)
        #expect(world.checker.violations.map(\.description) == [])
    }
}
