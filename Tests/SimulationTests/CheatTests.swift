import Base
import ClientCore
import RelayCore
import Simulation
import Testing
import Tickets
import Wire

@Suite("Who cheats about pay gains little")
struct CheatTests {
    private static let tickCells: UInt64 = 256
    private static let exitTickCells: UInt64 = 128

    private func world(_ seed: UInt64, guardCount: Int = 3) throws -> World {
        var settings = WorldSettings(seed: seed)
        settings.guardCount = guardCount
        settings.pay = PaySettings()
        return try World(settings)
    }

    private func download(_ byteCount: Int, _ host: ClientHost) -> Stream {
        var download = Stream.Settings()
        download.byteCount = byteCount
        return host.startStream(download)
    }

    /// Cells a relay carried, as it counts them.
    private func used(_ relay: RelayNode) -> UInt64 {
        relay.counters.forwardCells + relay.counters.deliveredCells + relay.counters.backwardCells
    }

    @Test("a client that stops paying gets two ticks more from each hop (§A.6)")
    func clientStops() throws {
        let world = try world(1)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let first = download(500_000, host)
        #expect(world.run(within: .seconds(60)) { first.isFinished })
        let path = client.currentPath(of: host)
        client.stopsPaying = true
        _ = download(5_000_000, host)
        world.run(for: .seconds(20))
        for (index, relay) in path.enumerated() {
            let tick = index == 2 ? Self.exitTickCells : Self.tickCells
            // Beyond them only the conversation, and what unpaid circuits have free.
            let limit = (relay.control.earnings.served + 2) * tick + 600
            #expect(used(relay) <= limit, "relay \(relay.index)")
        }
        #expect(path.contains { $0.counters.unpaidCells > 0 })
        world.expectSound()
    }

    @Test("a relay that takes money and drops keeps four ticks it did not work for")
    func relayDrops() throws {
        let world = try world(2)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let stream = download(3_000_000, host)
        #expect(world.run(within: .seconds(60)) { stream.arrivedByteCount > 200_000 })
        let path = client.currentPath(of: host)
        let (middle, exit) = (path[1], path[2])
        let before = used(middle)
        let earned = middle.control.earnings.served
        world.network.setBlocked(true, from: middle.index, to: exit.index)
        world.network.setBlocked(true, from: middle.index, to: path[0].index)
        #expect(world.run(within: .seconds(60)) { stream.isFinished }, "\(client.history)")
        #expect(client.currentPath(of: host).map(\.index) != path.map(\.index))
        let worked = (used(middle) - before) / Self.tickCells
        let gained = middle.control.earnings.served - earned
        #expect(gained <= worked + max(4, earned / 16) + 1, "\(gained) for \(worked)")
        world.expectSound()
    }

    @Test("a segment that loses a fifth is left, and both its ends are thought badly of")
    func relayLoses() throws {
        let world = try world(3)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let path = client.currentPath(of: host)
        var quality = world.settings.quality
        quality.loss = 2_000
        world.network.setQuality(quality, from: path[1].index, to: path[2].index)
        var settings = DatagramFlow.Settings()
        settings.count = 30_000
        settings.burst = 4
        let flow = host.startFlow(settings)
        let isLeft = world.run(within: .seconds(120)) {
            let now = client.currentPath(of: host).map(\.index)
            return !now.isEmpty && now != path.map(\.index)
        }
        #expect(isLeft, "\(client.history)")
        let history = client.history
        #expect(history.contains("too much is lost between hops 2 and 3"), "\(history)")
        #expect(flow.answeredCount > 0)
        world.expectSound()
    }

    @Test("a relay that kills circuits for what fills a voucher gets nothing for it")
    func relayKills() throws {
        let world = try world(4)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let middles = world.relays.filter { relay in
            relay.member.flags.isDisjoint(with: [.exit, .guardCapable])
        }
        for relay in middles { relay.destroysAfter = 600 }
        let stream = download(2_000_000, host)
        #expect(world.run(within: .seconds(120)) { stream.isFinished }, "\(client.history)")
        for relay in middles where relay.destroyedCount > 0 {
            let worked = used(relay) / Self.tickCells
            let circuits = UInt64(relay.destroyedCount) + 1
            // No more than four ticks ahead on each, and never a class.
            #expect(relay.control.earnings.served <= worked + circuits * 5)
        }
        #expect(middles.contains { $0.destroyedCount > 1 })
        world.expectSound()
    }

    @Test("a relay that starts again knows which vouchers it took, and is paid anew")
    func relayRestarts() throws {
        let world = try world(5, guardCount: 1)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let stream = download(8_000_000, host)
        #expect(world.run(within: .seconds(60)) { stream.arrivedByteCount > 1_000_000 })
        let guardRelay = client.currentPath(of: host)[0]
        world.run(for: .seconds(6))
        let before = guardRelay.control.earnings
        world.kill(guardRelay)
        world.restart(guardRelay)
        let after = guardRelay.control.earnings
        #expect(after.vouchers == before.vouchers)
        #expect(after.served <= before.served)
        #expect(world.run(within: .seconds(120)) { stream.isFinished }, "\(client.history)")
        #expect(guardRelay.control.earnings.served > after.served)
        // The voucher goes on that it was shown before.
        #expect(guardRelay.control.earnings.vouchers == before.vouchers)
        world.expectSound()
    }

    @Test("a relay whose disk is full takes no voucher, and carries what is paid")
    func fullDisk() throws {
        let world = try world(6)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        let path = client.currentPath(of: host)
        path[1].hasFullDisk = true
        let stream = download(200_000, host)
        #expect(world.run(within: .seconds(60)) { stream.isFinished })
        #expect(client.currentPath(of: host).map(\.index) == path.map(\.index))
        #expect(path[1].control.earnings.vouchers == 1)
        world.expectSound()
    }
}
