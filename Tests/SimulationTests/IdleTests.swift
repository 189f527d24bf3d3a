import Base
import ClientCore
import Simulation
import Testing

@Suite("Clients nobody uses")
struct IdleTests {
    @Test(
        "once its circuits stand, a client that nobody uses sends only what keeps its link (row 5)",
        arguments: 0..<10 as Range<UInt64>
    )
    func silence(seed: UInt64) throws {
        var settings = WorldSettings(seed: seed)
        settings.quality.jitter = .milliseconds(2)
        let world = try World(settings)
        let (client, host) = try world.connectedClient()
        let report = try #require(client.control.circuitReports().first)
        #expect(client.ping(report.id, hop: 3))
        world.run(for: .seconds(5))
        let before = client.sentDatagrams
        world.run(for: .seconds(60))
        #expect(client.isConnected(host))
        #expect(client.sentDatagrams - before <= 6, "seed=\(seed)")
        world.expectSound()
    }
}
