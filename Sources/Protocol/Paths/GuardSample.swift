public import Base
public import CryptoPrimitives
public import Directory
public import Wire

/// The guards a client has drawn and stays with (§E.4).
///
/// A failure never takes a guard out of the sample: only its age does, or a long absence from the
/// consensus. Who makes a client's connections fail cannot steer it to guards of his own.
public struct GuardSample: Sendable {
    /// One guard of the sample.
    public struct Member: Sendable {
        /// The relay.
        public let id: NodeID
        /// When it was drawn, put back at random by up to a tenth of its lifetime.
        public fileprivate(set) var sampledAt: WallTime
        /// When it was first used with success; `nil` if never.
        public fileprivate(set) var confirmedAt: WallTime?
        /// Since when the consensus does not list it as a guard; `nil` while it does.
        public fileprivate(set) var unlistedSince: WallTime?
        /// How many guards were confirmed before it.
        fileprivate var rank: Int?

        // What is known only while the program runs.
        fileprivate var failureCount = 0
        fileprivate var retry = Instant.zero
        fileprivate var extendCount = 0
        fileprivate var answerCount = 0
        fileprivate var yieldsToOthers = false
    }

    /// The guards in the order they were drawn; at most 60.
    public private(set) var members: [Member] = []
    // Indexes of the listed guards: the confirmed ones by rank, then the others as drawn.
    private var order: [Int] = []

    /// Starts without guards; ``update(to:at:using:)`` draws them.
    public init() {}

    /// Brings the sample in line with `view`: drops guards whose time is over, draws new ones.
    ///
    /// Keeps as many listed guards as the parameters' minimum asks for, or all there are; of one
    /// family or subnet one, as long as there are enough others to be primary.
    public mutating func update(
        to view: NetworkView,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        let weights = RelayWeights(view.relays)
        let rules = PathRules(view, excluding: RelayExclusions())
        update(to: view, weights: weights, rules: rules, at: date, using: &generator)
    }

    /// The same with weights and rules at hand; draws none that `rules` exclude.
    ///
    /// One drawn before it was excluded stays, and another is drawn in its stead.
    mutating func update(
        to view: NetworkView,
        weights: RelayWeights,
        rules: PathRules,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        let parameters = view.parameters
        for index in members.indices {
            // A clock that was ahead once must not keep a guard for ever.
            members[index].sampledAt = min(members[index].sampledAt, date)
            members[index].confirmedAt = members[index].confirmedAt.map { min($0, date) }
            let isListed = view.relay(members[index].id)?.flags.contains(.guardCapable) ?? false
            let since = members[index].unlistedSince.map { min($0, date) } ?? date
            members[index].unlistedSince = isListed ? nil : since
        }
        members.removeAll { Self.isOver($0, parameters, at: date) }
        renumber()
        let relays = view.relays
        var listedCount = members.count { member in
            member.unlistedSince == nil
                && view.index(of: member.id).map { !rules.isExcluded($0) } ?? false
        }
        var known = members.compactMap { view.index(of: $0.id) }
        while listedCount < parameters.guardSampleMinimum,
            members.count < parameters.guardSampleMaximum
        {
            let mayDraw = { (index: Int) in
                relays[index].flags.contains(.guardCapable) && !rules.isExcluded(index)
                    && !known.contains(index)
            }
            var drawn = weights.choose(for: .guardRelay, using: &generator) { index in
                mayDraw(index) && !known.contains { rules.areKin($0, index) }
            }
            // Kin of others is better than nobody to go to when a guard is down.
            if drawn == nil, listedCount < parameters.guardPrimaryCount {
                drawn = weights.choose(for: .guardRelay, using: &generator, where: mayDraw)
            }
            guard let drawn else { break }
            let back = generator.next(below: UInt64(parameters.guardLifetimeSeconds) / 10 + 1)
            members.append(Member(id: relays[drawn].id, sampledAt: date.earlier(by: back)))
            known.append(drawn)
            listedCount += 1
        }
        reorder()
    }

    private static func isOver(
        _ member: Member,
        _ parameters: NetworkParameters,
        at date: WallTime
    ) -> Bool {
        if let since = member.unlistedSince,
            since + UInt64(parameters.guardUnlistedSeconds) <= date
        {
            return true
        }
        guard member.sampledAt + UInt64(parameters.guardLifetimeSeconds) <= date else {
            return false
        }
        guard let confirmed = member.confirmedAt else { return true }
        return confirmed + UInt64(parameters.guardConfirmedSeconds) <= date
    }

    private mutating func renumber() {
        let order = members.indices.filter { members[$0].rank != nil }
            .sorted { (members[$0].rank ?? 0) < (members[$1].rank ?? 0) }
        for (rank, index) in order.enumerated() { members[index].rank = rank }
    }
}

extension GuardSample {
    /// The guards tried before all others: confirmed ones first, then in the order drawn.
    public func primaries(count: Int) -> [NodeID] {
        order.prefix(count).map { members[$0].id }
    }

    /// The guards that may be tried at `now`, the best first.
    ///
    /// Primaries come first, among them those that pass on most of what they are asked to.
    public func usable(primaryCount: Int, at now: Instant) -> [NodeID] {
        let primaries = order.prefix(primaryCount)
        let sorted =
            primaries.filter { !members[$0].yieldsToOthers }
            + primaries.filter { members[$0].yieldsToOthers }
            + order.dropFirst(primaryCount)
        return sorted.filter { members[$0].retry <= now }.map { members[$0].id }
    }

    /// When the first guard that is down may be tried again; `nil` when none is down.
    public func nextRetry(after now: Instant) -> Instant? {
        members.filter { $0.unlistedSince == nil && $0.retry > now }.map(\.retry).min()
    }

    /// The first of ``usable(primaryCount:at:)`` that satisfies `isSuitable`; `nil` for none.
    func firstUsable(
        primaryCount: Int,
        at now: Instant,
        where isSuitable: (NodeID) -> Bool
    ) -> NodeID? {
        let primaries = order.prefix(primaryCount)
        for yields in [false, true] {
            for index in primaries where members[index].yieldsToOthers == yields {
                guard members[index].retry <= now, isSuitable(members[index].id) else { continue }
                return members[index].id
            }
        }
        for index in order.dropFirst(primaryCount) {
            guard members[index].retry <= now, isSuitable(members[index].id) else { continue }
            return members[index].id
        }
        return nil
    }

    private mutating func reorder() {
        order = members.indices.filter { members[$0].unlistedSince == nil }
            .sorted { (members[$0].rank ?? .max, $0) < (members[$1].rank ?? .max, $1) }
    }

    /// Whether a guard passed on too little and comes after the other primaries.
    public func yieldsToOthers(_ id: NodeID) -> Bool {
        members.contains { $0.id == id && $0.yieldsToOthers }
    }

    /// Notes that a circuit was built through `id`; the first time confirms it.
    public mutating func noteSuccess(of id: NodeID, on date: WallTime) {
        guard let index = members.firstIndex(where: { $0.id == id }) else { return }
        members[index].failureCount = 0
        members[index].retry = .zero
        guard members[index].rank == nil else { return }
        members[index].rank = members.count { $0.rank != nil }
        members[index].confirmedAt = date
        reorder()
    }

    /// Notes that `id` does not answer; it stays in the sample and is tried again later.
    ///
    /// The wait is 5 s at first and doubles up to `limitSeconds`.
    public mutating func noteFailure(of id: NodeID, at now: Instant, limitSeconds: UInt32) {
        guard let index = members.firstIndex(where: { $0.id == id }) else { return }
        members[index].failureCount += 1
        let wait = FailureTable.wait(
            failureCount: members[index].failureCount,
            limitSeconds: limitSeconds
        )
        members[index].retry = now + wait
    }

    /// Notes whether an EXTEND through `id` was answered.
    ///
    /// A guard that answers less than 70 % of 50 comes after the other primaries until it
    /// answers more; each 50 are counted anew.
    public mutating func noteExtend(by id: NodeID, isAnswered: Bool) {
        guard let index = members.firstIndex(where: { $0.id == id }) else { return }
        members[index].extendCount += 1
        members[index].answerCount += isAnswered ? 1 : 0
        guard members[index].extendCount >= Self.extendWindow else { return }
        members[index].yieldsToOthers =
            members[index].answerCount * 100 < Self.extendWindow * Self.leastAnswerPercent
        members[index].extendCount = 0
        members[index].answerCount = 0
    }

    /// Makes every guard worth a try at once, for when this machine's own network is back.
    public mutating func retryAll() {
        for index in members.indices {
            members[index].failureCount = 0
            members[index].retry = .zero
        }
    }

    private static let extendWindow = 50
    private static let leastAnswerPercent = 70
}

extension GuardSample {
    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: ``WireError`` for anything else.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.version else {
            throw .unknown(field: "guard sample version", value: UInt64(version))
        }
        let count = try reader.read(UInt8.self)
        guard count <= Self.capacity else {
            throw .tooLarge(
                field: "guard sample",
                value: UInt64(count),
                limit: UInt64(Self.capacity)
            )
        }
        var seen: Set<NodeID> = []
        var ranks: Set<Int> = []
        for _ in 0..<count {
            let id = NodeID(try reader.readBytes32())
            guard seen.insert(id).inserted else { throw .invalid(field: "guard") }
            var member = Member(id: id, sampledAt: WallTime(seconds: try reader.read()))
            let rank = Int(try reader.read(UInt8.self))
            let confirmed = try reader.read(UInt64.self)
            if rank != Self.noRank {
                guard ranks.insert(rank).inserted else { throw .invalid(field: "guard rank") }
                member.rank = rank
                member.confirmedAt = WallTime(seconds: confirmed)
            } else if confirmed != 0 {
                throw .invalid(field: "guard confirmed")
            }
            let unlisted = try reader.read(UInt64.self)
            member.unlistedSince = unlisted == 0 ? nil : WallTime(seconds: unlisted)
            members.append(member)
        }
        try reader.finish()
        guard ranks.allSatisfy({ $0 < ranks.count }) else { throw .invalid(field: "guard rank") }
        reorder()
    }

    /// The sample as bytes to store, without what failed lately.
    ///
    /// Layout: `version u8 | count u8 | count x (relay_id 32 | sampled u64 | rank u8, 255 for
    /// none | confirmed u64 | unlisted since u64, 0 for listed)`.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 2 + members.count * 57)
        writer.write(Self.version)
        writer.write(UInt8(truncatingIfNeeded: members.count))
        for member in members {
            writer.write(member.id.rawValue)
            writer.write(member.sampledAt.seconds)
            writer.write(UInt8(truncatingIfNeeded: member.rank ?? Self.noRank))
            writer.write(member.confirmedAt?.seconds ?? 0)
            writer.write(member.unlistedSince?.seconds ?? 0)
        }
        return writer.bytes
    }

    private static let version: UInt8 = 1
    private static let capacity: UInt8 = 60
    private static let noRank = 255
}

extension WallTime {
    /// The time `seconds` before; not before 1970.
    fileprivate func earlier(by seconds: UInt64) -> Self {
        Self(seconds: self.seconds > seconds ? self.seconds - seconds : 0)
    }
}
