public import CryptoPrimitives
import Glibc
import Workloads

/// Watchers of beginnings and ends, and of who is on line over many days.
public struct LongTermExperiment: Sendable {
    /// How long clients stay on line.
    public enum Habit: String, CaseIterable, Codable, Sendable {
        /// From the first thing done to the last.
        case asUsed = "as used"
        /// As used, and 5 to 15 minutes more before and after, at random (protocol text, D).
        case offset = "random offsets"
        /// Always.
        case always = "always on"
    }

    /// What watchers come to.
    public struct Outcome: Codable, Hashable, Sendable {
        /// How clients behave.
        public var habit: Habit
        /// How well one day's beginnings and ends name clients.
        public var verdict: Verdict
        /// Days until one client is left, in the median; `nil` where it never comes to that.
        public var medianDaysUntilNamed: Int?
        /// Clients still possible at the end, in the median.
        public var medianCandidates: Int
    }

    /// Clients in the crowd.
    public var clients: Int
    /// Days watched.
    public var days: Int

    /// A crowd watched for days.
    public init(clients: Int, days: Int) {
        self.clients = clients
        self.days = days
    }

    /// Seconds of a day.
    private static let day = 86_400.0

    /// One session a day, beginning at any time, of 30 minutes in the median (lognormal, σ 0.8): an
    /// assumption of ours.
    private func session(random: inout RandomGenerator) -> SessionWatch.Session {
        let length = min(random.lognormal(mu: log(1_800), sigma: 0.8), Self.day / 2)
        let start = random.unit() * (Self.day - length)
        return SessionWatch.Session(start: start, stop: start + length)
    }

    private func link(
        _ habit: Habit,
        _ session: SessionWatch.Session,
        random: inout RandomGenerator
    ) -> SessionWatch.Session {
        switch habit {
        case .asUsed: return session
        case .offset:
            return SessionWatch.Session(
                start: session.start - 300 - 600 * random.unit(),
                stop: session.stop + 300 + 600 * random.unit()
            )
        case .always: return SessionWatch.Session(start: -Self.day, stop: 2 * Self.day)
        }
    }

    /// Runs one habit.
    public func run(_ habit: Habit, random: inout RandomGenerator) -> Outcome {
        var sessions: [[SessionWatch.Session]] = []
        var links: [[SessionWatch.Session]] = []
        for _ in 0..<max(1, days) {
            var (today, seen): ([SessionWatch.Session], [SessionWatch.Session]) = ([], [])
            for _ in 0..<clients {
                let session = session(random: &random)
                today.append(session)
                seen.append(link(habit, session, random: &random))
            }
            sessions.append(today)
            links.append(seen)
        }
        let scores = SessionWatch.scores(exits: sessions[0], links: links[0])
        var (named, candidates): ([Int], [Int]) = ([], [])
        for target in 0..<clients {
            // Each day the flow is seen at the middle of its session: who was on line then?
            let online = (0..<sessions.count).map { day in
                let moment = (sessions[day][target].start + sessions[day][target].stop) / 2
                return links[day].map { $0.start <= moment && moment <= $0.stop }
            }
            let isSeen = [Bool](repeating: true, count: online.count)
            let counts = Intersection.candidateCounts(online: online, isSeen: isSeen)
            candidates.append(counts.last ?? clients)
            named.append(
                Intersection.roundsUntilNamed(online: online, isSeen: isSeen) ?? .max
            )
        }
        named.sort()
        candidates.sort()
        let median = named.isEmpty ? .max : named[named.count / 2]
        return Outcome(
            habit: habit,
            verdict: Verdict(scores, random: &random),
            medianDaysUntilNamed: median == .max ? nil : median,
            medianCandidates: candidates.isEmpty ? 0 : candidates[candidates.count / 2]
        )
    }
}
