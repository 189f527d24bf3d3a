import Base
import ClientCore
import Mixing
import Simulation
import Testing
import Wire

@Suite("Circuits of padded and mix", .tags(.shapes))
struct ShapeTests {
    static let shapes: [TrafficShape] = [.fast, .padded, .mix(.tenMilliseconds)]

    /// A flow that fits a `mix` circuit: 50 packets a second for four seconds.
    static var flow: DatagramFlow.Settings {
        var settings = DatagramFlow.Settings()
        settings.count = 200
        return settings
    }

    private static func world(
        _ seed: UInt64,
        _ change: (inout WorldSettings) -> Void = { _ in }
    ) throws -> World {
        var settings = WorldSettings(seed: seed)
        change(&settings)
        return try World(settings)
    }

    @Test(
        "what is sent arrives exactly, in each mode",
        arguments: [.fast, .padded] + SlotLength.allCases.map { TrafficShape.mix($0) }
    )
    func exact(shape: TrafficShape) throws {
        let world = try Self.world(3)
        let client = world.addClient()
        let host = client.openTunnel(shape: shape)
        let isConnected = world.run(within: .seconds(10)) { client.isConnected(host) }
        try #require(isConnected, "\(client.history)")
        var settings = Self.flow
        // Slots of 20 ms carry 40 cells a second beside parity.
        settings.interval = .milliseconds(40)
        let flow = host.startFlow(settings)
        host.ping()
        let arrived = world.run(within: .seconds(20)) { flow.answeredCount == flow.settings.count }
        #expect(arrived, "\(flow.arrivedCount) came, \(flow.answeredCount) answered")
        #expect(host.pings[0].answered != nil)
        world.expectSound()
    }

    @Test(
        "nothing is lost where relays have two shards and halves of nodes are 200 µs apart",
        arguments: 0..<12 as Range<UInt64>
    )
    func apart(seed: UInt64) throws {
        let world = try Self.world(seed) {
            $0.shardCount = 2
            $0.mailboxTime = .microseconds(200)
        }
        let client = world.addClient()
        let host = client.openTunnel(shape: .mix(.tenMilliseconds))
        let isConnected = world.run(within: .seconds(10)) { client.isConnected(host) }
        try #require(isConnected, "seed=\(seed): \(client.history)")
        // At once: the first packet meets a circuit that has just been made.
        let flow = host.startFlow(Self.flow)
        let arrived = world.run(within: .seconds(20)) { flow.answeredCount == flow.settings.count }
        let missing = (0..<flow.settings.count).filter { !flow.arrivals.contains($0) }
        #expect(
            arrived,
            "seed=\(seed): \(flow.arrivedCount), \(flow.answeredCount), not \(missing)"
        )
        world.expectSound()
    }

    @Test("a stream ends over a mix circuit, at the rate of its slots")
    func stream() throws {
        let world = try Self.world(4)
        let client = world.addClient()
        let host = client.openTunnel(shape: .mix(.fiveMilliseconds))
        try #require(world.run(within: .seconds(10)) { client.isConnected(host) })
        var settings = Stream.Settings()
        settings.byteCount = 300_000
        let stream = host.startStream(settings)
        #expect(world.run(within: .seconds(60)) { stream.finished != nil })
        world.expectSound()
    }

    /// The trace of a client with a tunnel of each mode, over lossy ways.
    private static func trace(_ seed: UInt64) throws -> String {
        let world = try Self.world(seed) {
            $0.quality.loss = 100
            $0.quality.jitter = .milliseconds(2)
        }
        let client = world.addClient()
        let hosts = shapes.map { client.openTunnel(shape: $0) }
        world.run(for: .seconds(3))
        for host in hosts { host.startFlow(flow) }
        world.run(for: .seconds(6))
        #expect(hosts.allSatisfy { client.isConnected($0) }, "seed=\(seed): \(client.history)")
        #expect(hosts.allSatisfy { $0.flows[0].answeredCount > 150 }, "seed=\(seed)")
        world.expectSound()
        return world.trace.description
    }

    @Test(
        "three modes side by side on one client, and the same seed twice is the same",
        arguments: 0..<3 as Range<UInt64>
    )
    func sideBySide(seed: UInt64) throws {
        #expect(try Self.trace(seed) == Self.trace(seed))
    }

    @Test("parity repairs 1 % of loss to a fifth of that or less")
    func parity() throws {
        let world = try Self.world(5)
        let client = world.addClient()
        let host = client.openTunnel(shape: .mix(.tenMilliseconds))
        try #require(world.run(within: .seconds(10)) { client.isConnected(host) })
        let guardRelay = try #require(client.currentPath(of: host).first)
        var quality = world.network.quality(from: client.index, to: guardRelay.index)
        quality.loss = 100
        world.network.setQuality(quality, from: client.index, to: guardRelay.index)
        world.network.setQuality(quality, from: guardRelay.index, to: client.index)
        var settings = Self.flow
        settings.count = 6_000
        let flow = host.startFlow(settings)
        world.run(for: .seconds(130))
        // Each packet and each answer is a cell of its own.
        let lost = Double(2 * settings.count - flow.arrivedCount - flow.answeredCount)
        let share = lost / Double(2 * settings.count)
        #expect(flow.isSent)
        #expect(share <= 0.002, "of \(2 * settings.count) cells \(lost) were lost")
        #expect(lost > 0 || (client.traffic(of: host)?.shaped?.rebuiltCells ?? 0) > 0)
        world.expectSound()
    }

    @Test("95 of 100 round trips over a mix circuit add at most 350 ms")
    func delay() throws {
        let world = try Self.world(6) { $0.quality.jitter = .milliseconds(2) }
        let client = world.addClient()
        let host = client.openTunnel(shape: .mix(.tenMilliseconds))
        try #require(world.run(within: .seconds(10)) { client.isConnected(host) })
        var settings = Self.flow
        settings.count = 1_000
        let flow = host.startFlow(settings)
        #expect(world.run(within: .seconds(40)) { flow.answeredCount >= 995 })
        let late = try #require(world.report.roundTrip(share: 0.95))
        // Six ways of 10 ms, and 10 ms beyond the exit.
        #expect(late <= .milliseconds(350 + 70), "\(late.milliseconds) ms")
        let usual = try #require(world.report.roundTrip(share: 0.5))
        #expect(usual >= .milliseconds(100), "\(usual.milliseconds) ms: nothing is held")
        world.expectSound()
    }
}

extension Tag {
    /// Traffic that leaves by a schedule.
    @Tag static var shapes: Self
}
