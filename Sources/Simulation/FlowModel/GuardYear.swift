import Base
import CryptoPrimitives
import Directory
import Foundation
import Paths
import Wire

/// How many clients have had a bad guard, in a year, against an adversary with part of the network.
///
/// Each client's guards are the production ``GuardSample``: drawn by weight, kept for 120 days, 60
/// after they were first used. Once a day each client uses the first guard that is up. An adversary
/// holds relays drawn at random until they have the part of the guards' weight, and of the exits';
/// his relays are always up and never leave.
public struct GuardYear: Sendable {
    /// What came of one adversary.
    public struct Outcome: Hashable, Sendable {
        /// Part of the guards' weight that was asked for, 0 to 1.
        public let wantedShare: Double
        /// The part his relays have of the guards' weight.
        public let guardShare: Double
        /// The part his relays have of the exits' weight.
        public let exitShare: Double
        /// Clients that had used one of his guards by the end of each day, of all.
        public let compromised: [Double]
        /// Ends of the interval that holds the last of those with 95 %, by Wilson's score.
        public let interval: ClosedRange<Double>
        /// Share of days, over all clients, on which one of his was the guard in use.
        public let exposure: Double

        /// Share of circuits he has both ends of, on average over the year.
        public var bothEnds: Double { exposure * exitShare }
    }

    /// Clients followed.
    public let clientCount: Int
    /// One for each adversary.
    public let outcomes: [Outcome]
    /// Guards a client has used in the year, on average.
    public let usedGuards: Double

    /// Days of a year.
    public static let dayCount = 365
    private static let weekDays = 7

    /// Follows `plan.guardClientCount` clients for a year.
    ///
    /// - Throws: what making a directory throws.
    public static func run(
        network: DrawnNetwork,
        plan: NetworkPlan,
        streams: Streams,
        shares: [Double] = [0.01, 0.05, 0.10],
        progress: @escaping FlowRun.Progress
    ) async throws -> Self {
        let relays = network.view.relays
        let bad = adversaries(network, shares: shares, streams: streams)
        let isBad = Set(bad.last?.relays ?? [])
        // Who leaves when: no one of the adversary's.
        var random = streams.generator(.departures)
        let leaving = plan.uptime?.leaving ?? 0
        let leaves = relays.indices.map { index -> Int in
            let isLeaving = random.unit() < leaving
            let day = Int(random.unit() * Double(dayCount))
            return isLeaving && !isBad.contains(index) ? day : .max
        }
        var selectors: [PathSelector] = [network.selector]
        if leaving > 0 {
            for week in 1...dayCount / weekDays {
                let absent = relays.indices.filter { leaves[$0] < week * weekDays }
                let view = try network.view(without: Set(absent), streams: streams)
                var generator = streams.generator(.departures, week)
                selectors.append(
                    PathSelector(view: view, at: view.validAfter, using: &generator)
                )
                progress("directories of a year", Double(week) / Double(dayCount / weekDays))
            }
        }
        let follower = Follower(
            network: network,
            plan: plan,
            streams: streams,
            bad: bad.map { Set($0.relays.map { relays[$0].id }) },
            leaves: Dictionary(
                uniqueKeysWithValues: relays.indices.map { (relays[$0].id, leaves[$0]) }
            ),
            selectors: selectors
        )
        let count = plan.guardClientCount
        let chunk = 100
        var parts = [Follower.Part?](repeating: nil, count: (count + chunk - 1) / chunk)
        await withTaskGroup(of: (Int, Follower.Part).self) { group in
            for place in parts.indices {
                group.addTask {
                    let first = place * chunk
                    return (place, follower.follow(first..<min(first + chunk, count)))
                }
            }
            var doneCount = 0
            for await (place, part) in group {
                parts[place] = part
                doneCount += 1
                progress("guards over a year", Double(doneCount) / Double(parts.count))
            }
        }
        return Self(parts.compactMap(\.self), bad, shares, clientCount: count)
    }

    private init(
        _ parts: [Follower.Part],
        _ bad: [Adversary],
        _ shares: [Double],
        clientCount: Int
    ) {
        self.clientCount = clientCount
        usedGuards =
            Double(parts.reduce(0) { $0 + $1.usedGuards }) / Double(max(1, clientCount))
        outcomes = bad.indices.map { index in
            var days = [Double](repeating: 0, count: Self.dayCount)
            var badDays = 0
            for part in parts {
                for (day, count) in part.firstDays[index].enumerated() {
                    days[day] += Double(count)
                }
                badDays += part.badDays[index]
            }
            var sum = 0.0
            let compromised = days.map { count in
                sum += count
                return sum / Double(max(1, clientCount))
            }
            return Outcome(
                wantedShare: shares[index],
                guardShare: bad[index].guardShare,
                exitShare: bad[index].exitShare,
                compromised: compromised,
                interval: Self.wilson(compromised.last ?? 0, of: clientCount),
                exposure: Double(badDays) / Double(max(1, clientCount * Self.dayCount))
            )
        }
    }

    /// Wilson's interval of 95 % for a share of `count`.
    static func wilson(_ share: Double, of count: Int) -> ClosedRange<Double> {
        let (n, z) = (Double(max(1, count)), 1.959_964)
        let middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        let width =
            z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
        return max(0, middle - width)...min(1, middle + width)
    }

    private struct Adversary {
        var relays: [Int]
        var guardShare: Double
        var exitShare: Double
    }

    /// Relays drawn at random until they have the share of weight; who has more has the same ones
    /// too.
    private static func adversaries(
        _ network: DrawnNetwork,
        shares: [Double],
        streams: Streams
    ) -> [Adversary] {
        var random = streams.generator(.adversary)
        var order = Array(network.view.relays.indices)
        for index in order.indices.reversed() {
            order.swapAt(index, Int(random.next(below: UInt64(index + 1))))
        }
        let weight = { (position: PathPosition, relay: Int) in
            Double(network.selector.weight(relay, at: position))
        }
        let guardSum = order.reduce(0) { $0 + weight(.guardRelay, $1) }
        let exitSum = order.reduce(0) { $0 + weight(.exit, $1) }
        return shares.map { share in
            var chosen = Adversary(relays: [], guardShare: 0, exitShare: 0)
            for relay in order {
                let asGuard = weight(.guardRelay, relay) / max(1, guardSum)
                let asExit = weight(.exit, relay) / max(1, exitSum)
                // A relay too large for what is left of the share is passed over.
                let fitsGuards = chosen.guardShare + asGuard <= share * 1.02
                let fitsExits = chosen.exitShare + asExit <= share * 1.02
                guard fitsGuards, fitsExits, asGuard + asExit > 0 else { continue }
                chosen.relays.append(relay)
                chosen.guardShare += asGuard
                chosen.exitShare += asExit
            }
            return chosen
        }
    }
}

/// Clients through a year, one after the other.
private struct Follower: Sendable {
    let network: DrawnNetwork
    let plan: NetworkPlan
    let streams: Streams
    let bad: [Set<NodeID>]
    let leaves: [NodeID: Int]
    // One for each week; one for all where nobody leaves.
    let selectors: [PathSelector]

    struct Part: Sendable {
        var firstDays: [[Int]]
        var badDays: [Int]
        var usedGuards = 0
    }

    func follow(_ range: Range<Int>) -> Part {
        var part = Part(
            firstDays: bad.map { _ in [Int](repeating: 0, count: GuardYear.dayCount) },
            badDays: bad.map { _ in 0 }
        )
        for client in range { follow(client, &part) }
        return part
    }

    private func follow(_ client: Int, _ part: inout Part) {
        var random = streams.generator(.guards, client)
        let began = network.view.validAfter
        var selector = selectors[0].another(at: began, using: &random)
        var isFirst = bad.map { _ in true }
        var used: Set<NodeID> = []
        for day in 0..<GuardYear.dayCount {
            let date = began + UInt64(day) * 86_400
            let template = selectors[min(day / 7, selectors.count - 1)]
            selector.update(toViewOf: template, at: date, using: &random)
            let now = Instant(nanoseconds: (UInt64(day) * 86_400 + 1) * 1_000_000_000)
            guard let found = use(&selector, day, now, date, &random) else { continue }
            used.insert(found)
            for (index, relays) in bad.enumerated() where relays.contains(found) {
                part.badDays[index] += 1
                if isFirst[index] {
                    part.firstDays[index][day] += 1
                    isFirst[index] = false
                }
            }
        }
        part.usedGuards += used.count
    }

    /// The guard that is up, by the paths the client is given.
    private func use(
        _ selector: inout PathSelector,
        _ day: Int,
        _ now: Instant,
        _ date: WallTime,
        _ random: inout RandomGenerator
    ) -> NodeID? {
        for _ in 0..<Self.tries {
            guard let path = try? selector.path(now: now, date: date, using: &random) else {
                return nil
            }
            let id = path.guardRelay.id
            let isBad = bad.last?.contains(id) ?? false
            if isBad || isUp(id, day, &random) {
                selector.noteSuccess(of: path, on: date)
                return id
            }
            selector.noteFailure(of: id, at: .guardRelay, now: now)
        }
        return nil
    }

    private func isUp(_ id: NodeID, _ day: Int, _ random: inout RandomGenerator) -> Bool {
        guard leaves[id, default: .max] > day else { return false }
        guard let uptime = plan.uptime else { return true }
        return random.unit() < uptime.mean / (uptime.mean + uptime.down)
    }

    private static let tries = 20
}
