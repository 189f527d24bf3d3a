import Testing

@testable import umbel_lab

@Suite("What pooled logs of mints and relays tell", .timeLimit(.minutes(2)))
struct LinkingTests {
    private func settings(
        _ users: Int,
        _ buying: LinkingBench.Buying = .drawn
    ) -> LinkingBench.Settings {
        var settings = LinkingBench.Settings()
        settings.users = users
        settings.relays = 40
        settings.samples = 400
        settings.buying = buying
        return settings
    }

    @Test("vouchers bought ahead at drawn times lead to their purchase hardly better than a guess")
    func drawn() {
        var bench = LinkingBench(settings(400))
        let score = bench.linkSpends()
        #expect(score.guess == 1.0 / 400)
        #expect(score.advantage < 0.05, "\(score)")
        #expect(score.anonymitySet > 40, "\(score)")
    }

    @Test("the guess is a good one: what is bought when the last was shown is found out")
    func atUse() {
        var bench = LinkingBench(settings(400, .atUse))
        let score = bench.linkSpends()
        #expect(score.hit > 0.15, "\(score)")
    }

    @Test("deposits of one circuit hide among those of their class and day")
    func deposits() {
        var bench = LinkingBench(settings(400))
        let score = bench.linkDeposits()
        #expect(score.advantage < 0.05, "\(score)")
        #expect(score.anonymitySet > 50, "\(score)")
    }

    @Test("deposits without a class, after faults, are found more often")
    func faults() {
        var faulty = settings(400)
        faulty.faultPermille = 1_000
        var good = LinkingBench(settings(400))
        var bad = LinkingBench(faulty)
        let (few, many) = (good.linkDeposits().hit, bad.linkDeposits().hit)
        #expect(many > 2 * few)
    }
}
