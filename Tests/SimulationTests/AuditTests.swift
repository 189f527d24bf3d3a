import Base
import ClientCore
import RelayCore
import Simulation
import Testing
import Wire

@Suite("Exits are audited, and those that cheat are left")
struct AuditTests {
    private func world(_ seed: UInt64) throws -> World {
        var settings = WorldSettings(seed: seed)
        settings.exitCount = 4
        settings.pay = PaySettings()
        settings.client.auditShare = 1
        settings.client.auditNames = ["name.test"]
        return try World(settings)
    }

    private func verdicts(_ client: ClientNode) -> [(exit: NodeID, isGood: Bool)] {
        client.notices.compactMap {
            if case .audited(let exit, let isGood) = $0.notice { (exit, isGood) } else { nil }
        }
    }

    @Test("an exit that serves is held to be good, and stays", arguments: 0..<5 as Range<UInt64>)
    func honest(seed: UInt64) throws {
        let world = try world(seed)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let exit = client.currentPath(of: host)[2]
        #expect(world.run(within: .seconds(40)) { !verdicts(client).isEmpty }, "\(client.history)")
        #expect(!verdicts(client).contains { !$0.isGood })
        #expect(verdicts(client).contains { $0.exit == exit.member.id })
        #expect(client.control.reputation(of: exit.member.id) > 500)
        #expect(client.currentPath(of: host)[2] === exit)
        // What was built for it is gone.
        world.run(for: .seconds(1))
        #expect(client.control.circuitReports().allSatisfy { $0.tunnel == host.tunnel })
        world.expectSound()
    }

    @Test("an exit that takes pay and carries nothing is found and left, and what waited goes on")
    func dropper() throws {
        for seed in 10..<15 as Range<UInt64> {
            let world = try world(seed)
            let (client, host) = try world.connectedClient(within: .seconds(20))
            let exit = client.currentPath(of: host)[2]
            exit.dropsPackets = true
            let isLeft = world.run(within: .seconds(60)) {
                let path = client.currentPath(of: host)
                return path.count == 3 && path[2] !== exit
            }
            #expect(isLeft, "\(seed): \(client.history)")
            #expect(verdicts(client).contains { $0.exit == exit.member.id && !$0.isGood })
            #expect(client.control.reputation(of: exit.member.id) < 400)
            let stream = host.startStream()
            #expect(world.run(within: .seconds(60)) { stream.isFinished }, "\(client.history)")
            world.expectSound()
        }
    }

    @Test("an exit that lies about names is found and left; who contradicts it is not")
    func liar() throws {
        for seed in 20..<25 as Range<UInt64> {
            let world = try world(seed)
            let (client, host) = try world.connectedClient(within: .seconds(20))
            let exit = client.currentPath(of: host)[2]
            exit.liesInNames = true
            let isLeft = world.run(within: .seconds(60)) {
                let path = client.currentPath(of: host)
                return path.count == 3 && path[2] !== exit
            }
            #expect(isLeft, "\(seed): \(client.history)")
            #expect(client.control.reputation(of: exit.member.id) < 400)
            for (other, isGood) in verdicts(client) { #expect(isGood == (other != exit.member.id)) }
            // It stays left: what was seen is on disk.
            world.run(for: .seconds(60))
            client.restart()
            #expect(client.control.reputation(of: exit.member.id) < 400)
            world.expectSound()
        }
    }
}
