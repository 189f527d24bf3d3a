import Base
import Circuits
import CryptoPrimitives
import RelayCore
import Simulation
import Testing
import Wire

@testable import ClientCore

@Suite("Authorities look for relays and measure them")
struct ProbeTests {
    private func world(
        _ seed: UInt64,
        _ change: (inout WorldSettings) -> Void = { _ in }
    ) throws -> (World, ProbeNode) {
        var settings = WorldSettings(seed: seed)
        settings.quality.latency = .milliseconds(5)
        change(&settings)
        let world = try World(settings)
        return (world, world.addProber())
    }

    private func outcome(
        _ world: World,
        _ prober: ProbeNode,
        _ token: UInt64,
        within span: TimeSpan = .seconds(10)
    ) throws -> ProbeControl.Outcome {
        _ = world.run(within: span) { prober.outcomes[token] != nil }
        return try #require(prober.outcomes[token], "no outcome")
    }

    @Test("a relay echoes, and passes circuits of two and three on", arguments: 1...3)
    func echo(hops: Int) throws {
        let (world, prober) = try world(1)
        let token = prober.probe(Array(world.relays.prefix(hops)))
        let outcome = try outcome(world, prober, token)
        #expect(outcome.failure == nil)
        #expect(outcome.kilobits == nil)
        world.expectSound()
    }

    @Test("a relay that is gone is silent, one that reaches no other is stuck")
    func failures() throws {
        let (world, prober) = try world(2)
        let (first, second) = (world.relays[0], world.relays[1])
        for index in world.nodes.indices where index != prober.index && index != first.index {
            world.network.setBlocked(true, from: first.index, to: index)
        }
        let stuck = prober.probe([first, second])
        guard case .stuck = try outcome(world, prober, stuck).failure else {
            return #expect(Bool(false), "it passes nothing on")
        }
        let alone = prober.probe([first])
        #expect(try outcome(world, prober, alone).failure == nil)
        world.network.setBlocked(true, from: prober.index, to: second.index)
        let silent = prober.probe([second])
        #expect(
            try outcome(world, prober, silent).failure == .silent("no answer at its address")
        )
    }

    @Test(
        "what is measured is what the slowest line of the circuit carries",
        arguments: [5, 20, 80] as [UInt64],
        [0, 50] as [UInt64]
    )
    func rate(megabits: UInt64, loss: UInt64) throws {
        let (world, prober) = try world(3)
        let relays = Array(world.relays.prefix(3))
        var quality = world.settings.quality
        quality.loss = loss
        world.network.quality = quality
        // The middle's line to both sides is narrow.
        quality.bitsPerSecond = megabits * 1_000_000
        for other in [relays[0], relays[2]] {
            world.network.setQuality(quality, from: relays[1].index, to: other.index)
        }
        let token = prober.probe(
            relays,
            measuring: ProbeControl.Measurement(cells: 20_000, time: .seconds(3))
        )
        let kilobits = try #require(try outcome(world, prober, token).kilobits)
        let line = UInt32(megabits * 1_000)
        #expect(kilobits <= line + line / 50, "more than the line carries")
        #expect(kilobits >= line / 2, "\(kilobits) of \(line)")
        world.expectSound()
    }

    @Test("a measurement takes no more cells than it may, and only its last relay sends them back")
    func bound() throws {
        let (world, prober) = try world(4)
        let relays = Array(world.relays.prefix(3))
        let token = prober.probe(
            relays,
            measuring: ProbeControl.Measurement(cells: 700, time: .seconds(3))
        )
        let outcome = try outcome(world, prober, token)
        #expect(outcome.kilobits ?? 0 > 0)
        #expect(relays.map { $0.counters.echoedCells } == [0, 0, 700])
        world.expectSound()
    }

    @Test("a circuit that carries nothing more is measured as nothing")
    func dead() throws {
        let (world, prober) = try world(5)
        let relays = Array(world.relays.prefix(2))
        let token = prober.probe(
            relays,
            measuring: ProbeControl.Measurement(cells: 700, time: .seconds(1))
        )
        world.run(for: .milliseconds(30))
        world.network.setBlocked(true, from: relays[0].index, to: relays[1].index)
        let outcome = try outcome(world, prober, token)
        #expect(outcome.kilobits == nil)
    }

    @Test("only what comes back with its mark counts, and once")
    func forgery() {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 1, count: 32)))
        let start = Instant(nanoseconds: 1_000_000_000)
        var honest = EchoStream(hop: .third, cellLimit: 256, time: .seconds(1), now: start)
        var forged = honest
        var cells: [(sequence: UInt32, mark: UInt64)] = []
        while let cell = honest.nextCell(using: &random) { cells.append(cell) }
        #expect(cells.count == 32)
        forged = honest
        var now = start
        for cell in cells {
            now = now + .milliseconds(1)
            honest.receive(sequence: cell.sequence, mark: cell.mark, isMarked: false, now: now)
            // Without its mark, of another cell, of none, or the first one again and again.
            forged.receive(sequence: cell.sequence, mark: 0, isMarked: false, now: now)
            forged.receive(sequence: cell.sequence, mark: cell.mark ^ 2, isMarked: false, now: now)
            forged.receive(sequence: .max, mark: cell.mark, isMarked: false, now: now)
            forged.receive(
                sequence: cells[0].sequence,
                mark: cells[0].mark,
                isMarked: false,
                now: now
            )
        }
        // 32 datagrams in 32 ms.
        #expect(honest.kilobits(at: now) == 11_136)
        #expect(forged.kilobits(at: now) == nil)
    }
}
