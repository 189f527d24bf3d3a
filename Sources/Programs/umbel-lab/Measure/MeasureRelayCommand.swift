import ArgumentParser
import Base
import CryptoPrimitives
import EventLoop

/// `umbel-lab measure relay`: what idle circuits cost a relay that runs.
struct MeasureRelayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Memory, descriptors and processor of a running relay with circuits nobody uses.",
        discussion: """
            Starts a relay on this machine's loopback and opens circuits of one hop at it, over real \
            links with real key work, as fast as a relay takes them of clients: 10,000 take half a \
            minute. Then waits until answers to CREATE are let go, which takes a minute. Needs no root.
            """
    )

    @Option(help: "Circuits to open.")
    var circuits = 10_000
    @Option(help: "Circuits of each link, of which a relay allows a client 256.")
    var perLink = 125
    @Option(help: "UDP and TCP port of the loopback to use.")
    var port: UInt16 = 44_330
    @Option(help: "Seconds to wait, once all circuits stand, before the relay is weighed again.")
    var idle = 90
    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    func validate() throws {
        guard (1...50_000).contains(circuits), (1...256).contains(perLink),
            (10...3_600).contains(idle), port > 0
        else {
            throw ValidationError(
                "--circuits is 1 to 50000, --per-link 1 to 256, --idle 10 to 3600, --port not 0"
            )
        }
    }

    /// Seconds at the end of the wait in which the relay's processor time is counted.
    private static let quiet: UInt64 = 10

    func run() async throws {
        let progress = Progress()
        let relay = try await LoopbackRelay.start(port: port)
        defer { relay.end() }
        let loads = try makeLoads(at: relay)
        progress.say("a relay runs on \(relay.address)")
        // What its start needed is given back first.
        try await Task.sleep(for: .seconds(2))
        let before = try relay.weight()
        let begin = MonotonicClock.now()
        try drive(loads, until: begin + .seconds(600)) { loads.allSatisfy(\.isDone) }
        let took = MonotonicClock.now() - begin
        let count = loads.map(\.openCount).reduce(0, +)
        guard count == circuits else {
            throw LabError("the relay answers \(count) CREATEs of \(circuits)", why: "time is up")
        }
        progress.say("\(count) circuits stand")
        let atOnce = try relay.weight()
        let wait = TimeSpan.seconds(UInt64(idle) - Self.quiet)
        try drive(loads, until: MonotonicClock.now() + wait) { false }
        let middle = try relay.weight()
        try drive(loads, until: MonotonicClock.now() + .seconds(Self.quiet)) { false }
        let after = try relay.weight()
        let report = try relay.report()
        guard report.circuits == circuits else {
            throw LabError(
                "the relay keeps \(report.circuits) circuits of \(circuits)",
                why: "idle ones are to stay for ten minutes"
            )
        }
        let refused = loads.map(\.refusedCount).reduce(0, +)
        let used = (after.processorSeconds - middle.processorSeconds) / Double(Self.quiet)
        func figure(_ name: String, _ unit: String, _ value: Double) -> Measurement {
            Measurement(name, unit: unit, [value])
        }
        let own = after.residentBytes - before.residentBytes
        try Measurement.show(
            [
                figure("relay without circuits", "MiB", before.mebibytes),
                figure("with \(circuits), just opened", "MiB", atOnce.mebibytes),
                figure("with \(circuits), idle for \(idle) s", "MiB", after.mebibytes),
                figure("idle circuit", "bytes", own / Double(circuits)),
                figure("links", "", Double(report.links)),
                figure("descriptors without circuits", "", Double(before.descriptors)),
                figure("descriptors with \(circuits)", "", Double(after.descriptors)),
                figure("processor while idle", "ms each s", used * 1_000),
                figure("opened", "circuits/s", Double(circuits) / took.seconds),
                figure("refused and asked for again", "circuits", Double(refused)),
            ],
            json: json
        )
    }

    private func makeLoads(at relay: LoopbackRelay) throws -> [IdleLoad] {
        var random = RandomGenerator(
            seed: Secret(copying: (0..<32).map { _ in UInt8.random(in: 0...255) })
        )
        let links = (circuits + perLink - 1) / perLink
        let sources = (links + IdleLoad.linkLimit - 1) / IdleLoad.linkLimit
        return try (0..<sources).map { index in
            let share = circuits * (index + 1) / sources - circuits * index / sources
            // 127.0.1.1 and on: each its own address, as clients have.
            return try IdleLoad(
                at: relay,
                from: IPAddress(v4: 0x7f00_0101 + UInt32(index)),
                links: (share + perLink - 1) / perLink,
                circuits: share,
                random: random.split(),
                now: MonotonicClock.now()
            )
        }
    }

    /// Lets the loads work until `isOver`, or `end`.
    private func drive(
        _ loads: [IdleLoad],
        until end: Instant,
        isOver: () -> Bool
    ) throws {
        while !isOver() {
            let now = MonotonicClock.now()
            guard now < end else { return }
            for load in loads { try load.step(now: now, minute: WallClock.now().minute) }
            loads.first?.wait(milliseconds: 5)
        }
    }
}
