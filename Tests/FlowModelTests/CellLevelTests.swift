import CryptoPrimitives
import Simulation
import Testing
import Wire

@testable import FlowModel

/// What the flow model says against what the production cores do, where both run.
@Suite("The flow model against the cores", .timeLimit(.minutes(5)))
struct CellLevelTests {
    private func check(
        _ level: CellLevel,
        _ bounds: [String: Double],
        answeredShare: Double = 0.99
    ) {
        for figure in level.figures {
            // What chance alone may come to is no error of the model.
            let bound = (bounds[figure.name] ?? 0.1) + figure.chance
            #expect(abs(figure.error) < bound, "\(figure)")
        }
        #expect(level.largestShareSigma < 4, "\(level.largestShareError)")
        for run in level.runs {
            #expect(run.violations.isEmpty, "\(run.violations)")
            #expect(run.answeredShare > answeredShare)
        }
    }

    @Test("five minutes of nine relays and their clients: no figure is off by more than a tenth")
    func small() async throws {
        var plan = CellLevel.Plan()
        (plan.guards, plan.middles, plan.exits) = (6, 0, 3)
        plan.clients = 4
        plan.worlds = 8
        check(try await CellLevel.run(plan, seed: 1) { _, _ in }, [:])
    }

    @Test("twenty minutes, in which circuits grow old and others take their place")
    func rotation() async throws {
        var plan = CellLevel.Plan()
        (plan.guards, plan.middles, plan.exits) = (6, 6, 12)
        plan.clients = 8
        plan.worlds = 4
        plan.seconds = 1_290
        check(try await CellLevel.run(plan, seed: 2) { _, _ in }, [:])
    }

    /// With few packets half of all datagrams are PINGs.
    @Test(
        "a network by numbers, with countries, systems and families, and without pay",
        arguments: [0.5, 2]
    )
    func drawn(packetsPerSecond: Double) async throws {
        var network = NetworkPlan()
        network.relayCount = 60
        network.systemCount = 40
        network.countries = [
            .init(
                code: try #require(CountryCode("DE")),
                relays: 3,
                clients: 1,
                latitude: 51,
                longitude: 10
            ),
            .init(
                code: try #require(CountryCode("US")),
                relays: 1,
                clients: 2,
                latitude: 39,
                longitude: -98
            ),
            .init(
                code: try #require(CountryCode("JP")),
                relays: 1,
                clients: 1,
                latitude: 36,
                longitude: 138
            ),
        ]
        var plan = CellLevel.Plan()
        plan.network = network
        plan.clients = 100
        plan.seconds = 120
        plan.packetsPerSecond = packetsPerSecond
        plan.paysRelays = false
        check(try await CellLevel.run(plan, seed: 3) { _, _ in }, [:])
    }

    @Test("relays that come and go: circuits break and are built as often as the model says")
    func churn() async throws {
        var plan = CellLevel.Plan()
        (plan.guards, plan.middles, plan.exits) = (8, 8, 8)
        plan.clients = 8
        plan.worlds = 8
        plan.seconds = 900
        plan.paysRelays = false
        plan.uptime = NetworkPlan.Uptime(mean: 600, shape: 0.6, down: 60, leaving: 0)
        let level = try await CellLevel.run(plan, seed: 5) { _, _ in }
        #expect(level.runs.allSatisfy { $0.lossCount > 0 && $0.searchSeconds > 0 })
        // Of two circuits begun at once where a guard is slow, the model knows only one.
        check(level, ["build time, ms (mean)": 0.25], answeredShare: 0.95)
    }

    @Test("a seed gives the same hash twice, another seed another (row 88)")
    func sameSeed() async throws {
        var plan = CellLevel.Plan()
        plan.clients = 2
        plan.seconds = 20
        let first = try await CellLevel.run(plan, seed: 1) { _, _ in }
        let second = try await CellLevel.run(plan, seed: 1) { _, _ in }
        let other = try await CellLevel.run(plan, seed: 2) { _, _ in }
        #expect(first.hash == second.hash)
        #expect(first.hash != other.hash)
    }
}
