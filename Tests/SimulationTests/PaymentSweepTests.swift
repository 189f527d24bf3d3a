import Base
import ClientCore
import RelayCore
import Simulation
import TestSupport
import Testing
import Tickets
import Wire

@Suite("Payments in networks with faults")
struct PaymentSweepTests {
    @Test(
        "every tick a relay has was a client's, and everything arrives, whatever happens (row 68)",
        arguments: SweepSeeds.range(default: 200)
    )
    func sweep(seed: UInt64) throws {
        var draws = TestDraws(seed: seed ^ 0x9e37)
        var settings = WorldSettings(seed: seed)
        settings.quality.latency = .milliseconds(1 + draws.next(below: 30))
        settings.quality.jitter = .milliseconds(draws.next(below: 5))
        settings.quality.loss = draws.chance(50) ? 0 : draws.next(below: 200)
        settings.quality.reordering = draws.next(below: 500)
        settings.quality.duplication = draws.next(below: 500)
        settings.mailboxTime = draws.chance(50) ? .microseconds(draws.next(below: 300)) : .zero
        if draws.chance(30) { settings.shardCount = Int(2 + draws.next(below: 3)) }
        var pay = PaySettings()
        pay.mintCount = draws.chance(10) ? 4 : 1
        pay.diskTime = .milliseconds(draws.next(below: 20))
        settings.pay = pay
        let world = try World(settings)
        let (client, host) = try world.connectedClient(within: .seconds(60))
        let path = client.currentPath(of: host)
        var download = Stream.Settings()
        download.byteCount = Int(20_000 + draws.next(below: 600_000))
        var upload = download
        upload.isDownload = false
        upload.byteCount = 50_000
        let streams = [host.startStream(download), host.startStream(upload)]
        let struck = path[Int(draws.next(below: 3))]
        let time = world.now + .milliseconds(draws.next(below: 3_000))
        switch draws.next(below: 6) {
        case 0: world.at(time) { struck.destroysAfter = 100 + draws.next(below: 400) }
        case 1:
            // An exit's leases, and with them the flows, end with it.
            let relay = struck === path[2] ? path[1] : struck
            world.at(time) {
                world.kill(relay)
                world.restart(relay)
            }
        case 2: world.at(time) { struck.hasFullDisk = true }
        default: break
        }
        let isDone = world.run(within: .seconds(120)) { streams.allSatisfy(\.isFinished) }
        #expect(isDone, "seed=\(seed) \(streams.map(\.arrivedByteCount)) \(client.history)")
        client.closeTunnel(host)
        world.run(for: .seconds(2))
        // Of an order on its way the mints' books have what the wallet has not yet.
        let isSettled = world.run(within: .seconds(10)) { client.wallet { !$0.isBuying } }
        #expect(isSettled, "seed=\(seed)")
        let served = world.relays.reduce(0) { $0 + $1.control.earnings.served }
        let (spent, bought, left) = client.wallet { ($0.spent, $0.sums.bought, $0.outstanding) }
        // Ticks that were on their way to a circuit that had ended are spent and nobody's.
        #expect(served <= spent, "seed=\(seed)")
        #expect(bought == spent + left, "seed=\(seed)")
        #expect(world.mints?.issuedTicks == bought, "seed=\(seed)")
        world.expectSound()
    }
}
