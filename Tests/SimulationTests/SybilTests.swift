import Base
import ClientCore
import CryptoPrimitives
import Directory
import Simulation
import Testing
import Wire

@Suite("A thousand relays of one subnet (row 54)", .timeLimit(.minutes(3)))
struct SybilTests {
    private static let subnet = IPAddress(v4: 0x0c00_0000)
    private static let honestCount = 45

    /// Relays of three kinds in subnets of their own, then `count` of 12.0.0.0/24, as many of each
    /// kind; all count for the same.
    private static func drafts(sybils count: Int) -> [RelayRoster.Draft] {
        let kinds: [RelayFlags] = [.guardCapable, [], [.exit, .exitsIPv6]]
        var drafts = (0..<honestCount).map { RelayRoster.Draft(flags: kinds[$0 / 15]) }
        for index in 0..<count {
            var draft = RelayRoster.Draft(flags: kinds[index % 3])
            draft.v4 = IPAddress(v4: 0x0c00_0001 + UInt32(index % 254))
            draft.port = UInt16(4_433 + index / 254)
            drafts.append(draft)
        }
        return drafts
    }

    /// Sybils on the path of each client, and the honest relays all paths use.
    private static func paths(
        sybils: Int,
        clients: Int
    ) throws -> (sybilHops: [Int], honest: Set<Int>) {
        var settings = WorldSettings(seed: 54)
        settings.relays = drafts(sybils: sybils)
        settings.clientFlowLimit = 64
        settings.client.keepsSpare = false
        let world = try World(settings)
        #expect(world.relays.count == honestCount + sybils)
        let pairs = (0..<clients).map { _ in
            let client = world.addClient()
            return (client, client.openTunnel())
        }
        let isUp = world.run(within: .seconds(20)) { pairs.allSatisfy { $0.isConnected($1) } }
        #expect(isUp)
        var honest: Set<Int> = []
        let hops = pairs.map { client, host in
            let path = client.currentPath(of: host).map(\.index)
            #expect(path.count == 3)
            honest.formUnion(path.filter { $0 < honestCount })
            return path.count { $0 >= honestCount }
        }
        world.expectSound()
        return (hops, honest)
    }

    @Test("were all of them listed, no circuit would have two of them")
    func allListed() throws {
        let (hops, honest) = try Self.paths(sybils: 1_000, clients: 60)
        #expect(hops.allSatisfy { $0 <= 1 }, "\(hops)")
        // They are nearly all of the weight: whoever can have one has one, and honest relays stand
        // at the other two places.
        #expect(hops.count { $0 == 1 } > 40)
        #expect(honest.count >= 30, "\(honest.sorted())")
    }

    @Test(
        "with the eight that authorities list, most circuits have none, and honest relays serve all"
    )
    func eightListed() throws {
        // `RelayRegister.subnetLimit`; AuthorityCoreTests show that no more are listed.
        let (hops, honest) = try Self.paths(sybils: 8, clients: 60)
        #expect(hops.allSatisfy { $0 <= 1 }, "\(hops)")
        // Three of 18 guards, of 18 middles, and two of 17 exits: four circuits of ten expected.
        #expect(hops.count { $0 == 0 } > 24, "\(hops)")
        #expect(honest.count >= 40, "\(honest.sorted())")
    }
}
