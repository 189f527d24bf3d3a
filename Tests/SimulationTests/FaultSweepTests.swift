import Base
import Circuits
import ClientCore
import Simulation
import TestSupport
import Testing

@Suite("Networks with faults")
struct FaultSweepTests {
    @Test(
        "every byte arrives once and unaltered, whatever the network does (row 6)",
        arguments: SweepSeeds.range(default: 200)
    )
    func sweep(seed: UInt64) throws {
        var draws = TestDraws(seed: seed)
        var settings = WorldSettings(seed: seed)
        settings.quality.latency = .milliseconds(1 + draws.next(below: 40))
        settings.quality.jitter = .milliseconds(draws.next(below: 10))
        settings.quality.loss = draws.chance(30) ? 0 : draws.next(below: 1_000)
        settings.quality.reordering = draws.next(below: 2_000)
        settings.quality.duplication = draws.next(below: 1_000)
        settings.quality.corruption = draws.next(below: 300)
        settings.usesOffload = draws.chance(50)
        settings.mailboxTime = draws.chance(50) ? .microseconds(draws.next(below: 300)) : .zero
        settings.usesV6 = draws.chance(30)
        settings.usesV4 = !settings.usesV6 || draws.chance(50)
        if draws.chance(20) { settings.client.method = .telescoped }
        if draws.chance(40) { settings.shardCount = Int(2 + draws.next(below: 4)) }
        // What loses more than is borne is left again and again.
        if draws.chance(25), settings.quality.loss <= 200 { settings.pay = PaySettings() }
        let world = try World(settings)
        let (client, host) = try world.connectedClient(within: .seconds(60))
        var download = Stream.Settings()
        download.byteCount = 100_000
        download.isV6 = draws.chance(50)
        var upload = download
        upload.isDownload = false
        let streams = [host.startStream(download), host.startStream(upload)]
        var datagrams = DatagramFlow.Settings()
        datagrams.byteCount = Int(32 + draws.next(below: 1_400))
        datagrams.answerByteCount = Int(32 + draws.next(below: 1_400))
        datagrams.burst = UInt32(1 + draws.next(below: 4))
        datagrams.isV6 = draws.chance(50)
        let flow = host.startFlow(datagrams)
        let isDone = world.run(within: .seconds(120)) {
            streams.allSatisfy(\.isFinished) && flow.isSent
        }
        #expect(
            isDone,
            "seed=\(seed) \(streams.map(\.arrivedByteCount)) \(client.control.circuitReports().count)"
        )
        world.expectSound()
    }
}
