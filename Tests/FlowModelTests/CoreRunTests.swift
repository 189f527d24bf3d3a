import FlowModel
import Simulation
import Testing

@Suite("Networks of numbers on the cores")
struct CoreRunTests {
    @Test("clients send as often as the plan says, however seldom", arguments: [0.02, 0.5, 2])
    func rate(packetsPerSecond: Double) throws {
        var plan = CoreRun.Plan(settings: WorldSettings(seed: 1), clientCount: 3, seconds: 400)
        plan.packetsPerSecond = packetsPerSecond
        let (run, world) = try CoreRun.run(plan) { _ in }
        #expect(run.violations.isEmpty)
        // The first 40 seconds some of them are not there yet.
        let due = 400 * packetsPerSecond
        for host in world.clients.flatMap(\.hosts) {
            #expect(Double(host.sentCount) >= 0.85 * due)
            // A flow begins within a second of the end of the one before, which may be early.
            #expect(Double(host.sentCount) <= 1.05 * due + 2)
        }
    }
}
