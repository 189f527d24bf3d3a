import Base
import CryptoPrimitives
import Foundation
import Wire

/// What mints and relays that pool all their logs learn of who paid whom: a model of purchases,
/// circuits and deposits, and the best guesses of those who see all of it but one relay.
///
/// Signatures are left out: a voucher and what the mints signed have no byte in common, and each fits
/// to each (RFC 9474), so only times, sizes and counts are left to link by. Times are in seconds.
struct LinkingBench: ~Copyable {
    /// When a wallet buys what it lacks.
    enum Buying: String, CaseIterable {
        /// At drawn times that have nothing to do with circuits (§A.5.1).
        case drawn
        /// As soon as the last voucher for a relay was shown: to show what that would cost.
        case atUse
    }

    /// What is modelled.
    struct Settings {
        var users = 10_000
        var relays = 300
        var days = 7
        /// Circuits of a user on a day, on average.
        var circuitsOfDay = 8.0
        /// Parts in a thousand of circuits that end by a fault, and so without a top-up.
        var faultPermille = 20
        var buying = Buying.drawn
        /// Spends and circuits that guesses are made for.
        var samples = 2_000
        var seed: UInt64 = 1
    }

    /// How well a link is guessed.
    struct Score {
        /// The share of first guesses that are right.
        var hit = 0.0
        /// What guessing without logs gets right.
        var guess = 0.0
        /// The mean number of candidates that fit as well as the right one or better.
        var anonymitySet = 0.0

        /// What the logs are worth.
        var advantage: Double { hit - guess }
    }

    private static let meanLook = 7_200.0
    private static let exitCount = 8
    private static let middleCount = 4

    private struct Purchase {
        var time: Double
        var account: Int
    }

    private struct Spend {
        var time: Double
        var account: Int
        var denomination: Denomination
    }

    private struct Row {
        var circuit: Int
        var relay: Int
        var day: Int
        var denomination: Denomination
        var index: UInt32
        var isExit: Bool
    }

    let settings: Settings
    private var random: RandomGenerator
    private var purchases: [Denomination: [Int: [Double]]] = [:]
    private var spends: [Spend] = []
    private var rows: [Row] = []

    /// Lets the users live for the days there are.
    init(_ settings: Settings) {
        self.settings = settings
        random = RandomGenerator(
            seed: Secret(copying: SHA256.digest(Array("linking \(settings.seed)".utf8)).bytes)
        )
        var circuit = 0
        for account in 0..<settings.users { live(account, &circuit) }
    }

    // MARK: Draws

    private mutating func uniform() -> Double {
        (Double(random.next() >> 11) + 0.5) / Double(1 << 53)
    }

    private mutating func exponential(_ mean: Double) -> Double {
        -mean * log(uniform())
    }

    private mutating func relay() -> Int {
        Int(random.next(below: UInt64(settings.relays)))
    }

    /// Ticks a circuit carries: many small ones, a few large.
    private mutating func volume() -> Double {
        var sum = 0.0
        for _ in 0..<12 { sum += uniform() }
        return min(4_000, 12 * exp(1.6 * (sum - 6)))
    }

    // MARK: A user

    private mutating func live(_ account: Int, _ circuit: inout Int) {
        var stock: [Int: [Denomination: Int]] = [:]
        let middles = (0..<Self.middleCount).map { _ in relay() }
        let exits = (0..<Self.exitCount).map { _ in relay() }
        let others = middles + exits
        let end = Double(settings.days) * 86_400
        var look = exponential(Self.meanLook)
        buy(account, at: 0, others, &stock)
        // Awake for sixteen hours that begin at an hour of one's own.
        let morning = uniform() * 86_400
        var time = 0.0
        while true {
            time += exponential(86_400 / settings.circuitsOfDay)
            guard time < end else { break }
            let hour = (time + morning).truncatingRemainder(dividingBy: 86_400) / 3_600
            guard hour < 16 else { continue }
            while settings.buying == .drawn, look < time {
                buy(account, at: look, others, &stock)
                look += exponential(Self.meanLook)
            }
            let ticks = volume()
            let isFaulty = random.next(below: 1_000) < UInt64(settings.faultPermille)
            circuit += 1
            let pair = [
                (middles[Int(random.next(below: UInt64(middles.count)))], false, 1.0),
                (exits[Int(random.next(below: UInt64(exits.count)))], true, 2.0),
            ]
            for (relay, isExit, factor) in pair {
                spend(
                    ticks * factor,
                    (circuit, relay, isExit, isFaulty),
                    of: account,
                    at: time,
                    &stock
                )
            }
            if settings.buying == .atUse { buy(account, at: time + 1, others, &stock) }
        }
    }

    /// Buys batches of what is lacking, as a wallet does.
    private mutating func buy(
        _ account: Int,
        at time: Double,
        _ relays: [Int],
        _ stock: inout [Int: [Denomination: Int]]
    ) {
        for (denomination, batch) in [(Denomination.trial, 16), (.small, 8)] {
            let lacking = relays.filter { stock[$0]?[denomination] ?? 0 == 0 }
            guard !lacking.isEmpty else { continue }
            let filling = denomination == .trial ? lacking + relays : lacking
            for place in 0..<max(batch, lacking.count) {
                stock[filling[place % filling.count], default: [:]][denomination, default: 0] += 1
            }
            purchases[denomination, default: [:]][account, default: []].append(time)
        }
    }

    private mutating func spend(
        _ ticks: Double,
        _ place: (circuit: Int, relay: Int, isExit: Bool, isFaulty: Bool),
        of account: Int,
        at time: Double,
        _ stock: inout [Int: [Denomination: Int]]
    ) {
        // A head start of its own for each hop, so that odd places differ.
        var left = UInt32(ticks.rounded(.up)) + UInt32(random.next(below: 4)) + 1
        var next = Denomination.trial
        while left > 0 {
            let used = min(left, next.tickCount)
            left -= used
            let width = Self.width(next)
            let isTopped = !place.isFaulty && left == 0
            let index =
                isTopped ? min(next.tickCount, (used + width - 1) / width * width) : used
            stock[place.relay, default: [:]][next, default: 1] -= 1
            spends.append(Spend(time: time, account: account, denomination: next))
            rows.append(
                Row(
                    circuit: place.circuit,
                    relay: place.relay,
                    day: Int(time / 86_400),
                    denomination: next,
                    index: index,
                    isExit: place.isExit
                )
            )
            next = next.next
        }
    }

    // MARK: Guesses

    /// Who bought a voucher that a relay was shown, by when each account bought again.
    ///
    /// The relay knows the second; the mints know every purchase. The account that bought soonest
    /// afterwards is the first guess: it is the one that lacked something.
    mutating func linkSpends() -> Score {
        var score = Score()
        let candidates = spends.filter { $0.denomination != .large }
        guard !candidates.isEmpty else { return score }
        for _ in 0..<settings.samples {
            let spend = candidates[Int(random.next(below: UInt64(candidates.count)))]
            let log = purchases[spend.denomination] ?? [:]
            func wait(_ account: Int) -> Double {
                guard let times = log[account], times.first ?? .infinity <= spend.time else {
                    return .infinity
                }
                let next = Self.first(after: spend.time, in: times)
                return next - spend.time
            }
            let right = wait(spend.account)
            var better = 0
            var equal = 0
            for account in 0..<settings.users {
                let other = wait(account)
                if other < right { better += 1 } else if other == right { equal += 1 }
            }
            if better == 0 { score.hit += 1 / Double(max(1, equal)) }
            score.anonymitySet += Double(better + equal)
        }
        score.hit /= Double(settings.samples)
        score.anonymitySet /= Double(settings.samples)
        score.guess = 1 / Double(settings.users)
        return score
    }

    private static func first(after time: Double, in times: [Double]) -> Double {
        var (low, high) = (0, times.count)
        while low < high {
            let middle = (low + high) / 2
            if times[middle] <= time { low = middle + 1 } else { high = middle }
        }
        return low < times.count ? times[low] : .infinity
    }

    /// Which voucher a circuit's middle was paid with, by what its exit deposited: day, size, place.
    ///
    /// The mints see rows by relay and day. An exit counts twice, so rows fit where the exit's place
    /// is about twice the middle's. Those that fit are as likely as each other.
    mutating func linkDeposits() -> Score {
        var score = Score()
        struct Key: Hashable {
            var day: Int
            var denomination: Denomination
            var index: UInt32
        }
        var middles: [Key: Int] = [:]
        var countOfDay: [Int: Int] = [:]
        var last: [Int: Row] = [:]
        var exits: [Row] = []
        for row in rows {
            // The last voucher of a hop is the only one that is not full.
            if row.isExit {
                if exits.last?.circuit == row.circuit { exits.removeLast() }
                exits.append(row)
            } else {
                last[row.circuit] = row
            }
        }
        for row in last.values {
            let key = Key(day: row.day, denomination: row.denomination, index: row.index)
            middles[key, default: 0] += 1
            countOfDay[row.day, default: 0] += 1
        }
        guard !exits.isEmpty else { return score }
        for _ in 0..<settings.samples {
            let exit = exits[Int(random.next(below: UInt64(exits.count)))]
            guard let right = last[exit.circuit] else { continue }
            var fitting = 0
            var isRightAmongThem = false
            for (key, count) in middles
            where key.day == exit.day && Self.fits(key.denomination, key.index, exit) {
                fitting += count
                if key.denomination == right.denomination, key.index == right.index {
                    isRightAmongThem = true
                }
            }
            let all = countOfDay[exit.day] ?? 1
            score.guess += 1 / Double(all)
            if isRightAmongThem {
                score.hit += 1 / Double(max(1, fitting))
                score.anonymitySet += Double(fitting)
            } else {
                // Passed over: it hides among all.
                score.anonymitySet += Double(all)
            }
        }
        score.hit /= Double(settings.samples)
        score.guess /= Double(settings.samples)
        score.anonymitySet /= Double(settings.samples)
        return score
    }

    /// Ticks a hop was paid at least and at most, by the last row of it.
    private static func range(_ denomination: Denomination, _ index: UInt32) -> ClosedRange<Double>
    {
        let before: UInt32 =
            switch denomination {
            case .trial: 0
            case .small: 16
            // Flows of the model are too slow for bulk ones.
            case .large, .bulk: 80
            }
        let width = width(denomination)
        let isClass = index.isMultiple(of: width)
        let least = before + (isClass ? index - width : index)
        return Double(least)...Double(before + index)
    }

    /// Ticks to whose multiple a voucher is filled.
    private static func width(_ denomination: Denomination) -> UInt32 {
        switch denomination {
        case .trial, .small: 16
        case .large, .bulk: 64
        }
    }

    private static func fits(
        _ denomination: Denomination,
        _ index: UInt32,
        _ exit: Row
    ) -> Bool {
        let middle = range(denomination, index)
        let twice = range(exit.denomination, exit.index)
        // Each hop has a head start of up to four ticks; beyond an L all are alike.
        if exit.denomination == .large, denomination == .large { return true }
        return twice.lowerBound <= 2 * middle.upperBound + 4
            && twice.upperBound + 8 >= 2 * middle.lowerBound
    }
}
