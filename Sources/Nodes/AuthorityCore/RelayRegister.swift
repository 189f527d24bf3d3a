public import Base
import DequeModule
public import Directory
public import Wire

/// The relays an authority knows of: their descriptors, and whether they run.
///
/// Bounds: ``Consensus/maximumRelayCount`` relays of two descriptors each, ``subnetLimit`` relays of
/// one subnet in a vote.
public struct RelayRegister: Sendable {
    /// Relays of one IPv4 /24 or IPv6 /48 an authority votes for; the ones known longest stay.
    public static let subnetLimit = 8
    private static let relayLimit = Consensus.maximumRelayCount
    private static let clockToleranceSeconds: UInt64 = 3_600

    /// What an authority thinks of a relay.
    public enum Standing: Hashable, Sendable {
        /// Nobody has looked yet whether it answers.
        case untested
        /// It answered.
        case running
        /// It did not answer, for this reason.
        case unreachable(String)
    }

    /// Why a descriptor is not taken.
    public enum Refusal: Error, Hashable, Sendable {
        /// It does not verify.
        case unverified(DirectoryError)
        /// It is published in the future.
        case publishedInFuture
        /// It is too old.
        case tooOld
        /// Its circuit key is no longer used.
        case circuitKeyExpired
        /// A newer one is known, or another one of the same minute.
        case superseded
        /// Another relay that runs has its address.
        case addressTaken(SocketAddress, by: NodeID)
        /// There is no room.
        case full
    }

    struct Relay: Sendable {
        var current: SignedDescriptor
        var digest: Bytes32
        // What others may still vote for.
        var former: (digest: Bytes32, descriptor: SignedDescriptor)?
        var firstSeen: WallTime
        var standing = Standing.untested
        var testedAt: CivilTime?
        var isTesting = false
        var failureCount = 0
        // Failures in a row to pass a circuit on.
        var stuckCount = 0
        var testCount = 0
        var rate = RelayRate()
    }

    /// How a test went.
    public enum TestOutcome: Hashable, Sendable {
        /// It answered, and passed a circuit on where it was asked to.
        case answered
        /// It did not answer, for this reason.
        case silent(String)
        /// It answered, but what is behind it did not.
        case stuck(String)
    }

    private(set) var relays: [NodeID: Relay] = [:]
    // Addresses of relays that run: who claims one waits until its relay is gone.
    private var owners: [SocketAddress: NodeID] = [:]
    private var byDigest: [Bytes32: NodeID] = [:]
    private var tests = TestQueue()
    private let network: NetworkID
    private let parameters: NetworkParameters

    /// Starts with no relay of `network`.
    public init(network: NetworkID, parameters: NetworkParameters) {
        self.network = network
        self.parameters = parameters
    }

    /// Relays known.
    public var count: Int {
        relays.count
    }

    /// Takes a descriptor; gives whether it says something new.
    ///
    /// - Throws: ``Refusal``.
    public mutating func add(
        _ signed: SignedDescriptor,
        at now: WallTime
    ) throws(Refusal) -> Bool {
        let descriptor = signed.descriptor
        let digest = signed.digest
        if byDigest[digest] != nil { return false }
        if let known = relays[descriptor.id]?.current.descriptor {
            guard descriptor.publishedMinute >= known.publishedMinute else { throw .superseded }
        }
        try check(signed, at: now)
        try checkAddress(of: descriptor)
        guard var relay = relays[descriptor.id] else {
            guard relays.count < Self.relayLimit else { throw .full }
            relays[descriptor.id] = Relay(current: signed, digest: digest, firstSeen: now)
            byDigest[digest] = descriptor.id
            tests.addNew(descriptor.id)
            return true
        }
        let known = relay.current.descriptor
        if known.publishedMinute == descriptor.publishedMinute {
            // Two of one minute: everybody keeps the same one, whichever came first.
            guard digest > relay.digest else { throw .superseded }
        }
        if let former = relay.former { byDigest[former.digest] = nil }
        relay.former = (relay.digest, relay.current)
        // Another address or key is another thing to test.
        if !known.answersLike(descriptor) {
            if relay.isTesting { tests.runningCount -= 1 }
            relay.testedAt = nil
            relay.isTesting = false
            tests.addNew(descriptor.id)
        }
        if known.addresses != descriptor.addresses {
            relay.standing = .untested
            releaseAddresses(of: descriptor.id)
        }
        relay.current = signed
        relay.digest = digest
        relays[descriptor.id] = relay
        byDigest[digest] = descriptor.id
        return true
    }

    private func check(_ signed: SignedDescriptor, at now: WallTime) throws(Refusal) {
        do { try signed.verify(network: network) } catch { throw .unverified(error) }
        let descriptor = signed.descriptor
        let ahead = now + Self.clockToleranceSeconds
        guard descriptor.publishedMinute <= ahead.minute else { throw .publishedInFuture }
        guard !isOld(descriptor, at: now) else { throw .tooOld }
        guard descriptor.circuitKeyExpiryMinute > now.minute else { throw .circuitKeyExpired }
    }

    /// Who claims the address of a relay that runs there waits until that one is gone.
    private func checkAddress(of descriptor: Descriptor) throws(Refusal) {
        for address in descriptor.addresses.all {
            guard let owner = owners[address], owner != descriptor.id else { continue }
            throw .addressTaken(address, by: owner)
        }
    }

    private func isOld(_ descriptor: Descriptor, at now: WallTime) -> Bool {
        let published = WallTime(seconds: UInt64(descriptor.publishedMinute) * 60)
        return published + UInt64(parameters.descriptorSeconds) <= now
    }

    /// The descriptor with this digest.
    public func descriptor(_ digest: Bytes32) -> SignedDescriptor? {
        guard let id = byDigest[digest], let relay = relays[id] else { return nil }
        if relay.digest == digest { return relay.current }
        return relay.former?.digest == digest ? relay.former?.descriptor : nil
    }

    /// The newest descriptor of each relay, ascending by identity.
    public var descriptors: [SignedDescriptor] {
        relays.sorted { $0.key < $1.key }.map(\.value.current)
    }

    /// What this authority thinks of the relay `id`; `nil` for one it does not know.
    public func standing(of id: NodeID) -> Standing? {
        relays[id]?.standing
    }

    /// Lets go of relays that are too old to list.
    public mutating func forgetOld(at now: WallTime) {
        for (id, relay) in relays where isOld(relay.current.descriptor, at: now) {
            byDigest[relay.digest] = nil
            if let former = relay.former { byDigest[former.digest] = nil }
            releaseAddresses(of: id)
            if relay.isTesting { tests.runningCount -= 1 }
            relays[id] = nil
        }
    }

    private mutating func releaseAddresses(of id: NodeID) {
        for address in relays[id]?.current.descriptor.addresses.all ?? []
        where owners[address] == id {
            owners[address] = nil
        }
    }

    private mutating func takeAddresses(for id: NodeID) {
        for address in relays[id]?.current.descriptor.addresses.all ?? []
        where owners[address] == nil {
            owners[address] = id
        }
    }

    /// Relays that run.
    public var runningCount: Int {
        relays.values.count { $0.standing == .running }
    }

    // MARK: Tests

    /// Up to `limit` relays that are to be tested at `now`, and notes that they are.
    ///
    /// New ones come first; a relay is tested again `everyMilliseconds` after its last test.
    mutating func takeDueTests(
        at now: CivilTime,
        everyMilliseconds: UInt64,
        limit: Int
    ) -> [SignedDescriptor] {
        var due: [SignedDescriptor] = []
        while tests.runningCount < limit, let (id, time) = tests.first {
            let relay = relays[id]
            let isValid = relay.map { !$0.isTesting && $0.testedAt == time } ?? false
            // A clock that went back does not put tests off.
            if isValid, let time, time <= now, time + everyMilliseconds > now { break }
            tests.removeFirst()
            guard isValid, let relay else { continue }
            relays[id]?.isTesting = true
            relays[id]?.testCount += 1
            tests.runningCount += 1
            due.append(relay.current)
        }
        return due
    }

    /// When the next test is due; never while `limit` run.
    func nextTest(everyMilliseconds: UInt64, limit: Int) -> CivilTime {
        guard tests.runningCount < limit else { return .distantFuture }
        return tests.nextDue(everyMilliseconds: everyMilliseconds)
    }

    /// Notes how a test of the descriptor with this digest went.
    ///
    /// A relay that runs is given up at the second silence in a row, any other at the first; at the
    /// third circuit in a row it does not pass on, each to another relay. What a test of another
    /// address or key found says nothing.
    /// - Returns: whether the relay stands otherwise than before.
    mutating func noteTest(
        of digest: Bytes32,
        _ outcome: TestOutcome,
        at now: CivilTime
    ) -> Bool {
        guard let tested = descriptor(digest)?.descriptor, var relay = relays[tested.id],
            relay.isTesting, tested.answersLike(relay.current.descriptor)
        else { return false }
        let id = tested.id
        let before = relay.standing
        relay.isTesting = false
        relay.testedAt = now
        tests.runningCount -= 1
        switch outcome {
        case .answered:
            relay.failureCount = 0
            relay.stuckCount = 0
            relay.standing = .running
        case .silent(let reason):
            relay.failureCount += 1
            let isKept = relay.standing == .running && relay.failureCount < Self.failureLimit
            if !isKept { relay.standing = .unreachable(reason) }
            // Once more, soon: one lost test is not an end.
            if isKept { relay.testedAt = nil }
        case .stuck(let reason):
            relay.failureCount = 0
            relay.stuckCount += 1
            // The fault may be the other relay's: once more, soon, to another one.
            let isKept = relay.stuckCount < Self.stuckLimit
            if !isKept { relay.standing = .unreachable(reason) }
            if isKept { relay.testedAt = nil }
        }
        relays[id] = relay
        if let time = relay.testedAt { tests.add(id, testedAt: time) } else { tests.addNew(id) }
        guard relay.standing != before else { return false }
        if relay.standing == .running { takeAddresses(for: id) } else { releaseAddresses(of: id) }
        return true
    }

    private static let failureLimit = 2
    private static let stuckLimit = 3

    // MARK: Measurements

    /// The relay measured longest ago, of those that run and satisfy `isListed`; `nil` for none.
    func nextToMeasure(where isListed: (NodeID) -> Bool) -> NodeID? {
        var next: (id: NodeID, begun: CivilTime)?
        for (id, relay) in relays where relay.standing == .running && isListed(id) {
            let begun = relay.rate.begun
            if let next, (next.begun, next.id) < (begun, id) { continue }
            next = (id, begun)
        }
        return next?.id
    }

    /// Notes that the relay `id` is about to be measured, and says where in a circuit.
    mutating func beginMeasurement(of id: NodeID, at now: CivilTime) -> AuthorityControl.Place {
        relays[id]?.rate.begun = now
        return relays[id]?.rate.nextPlace ?? .first
    }

    /// Notes what a relay carried, in kilobits a second; `nil` where nothing came back.
    public mutating func noteMeasured(
        _ kilobits: UInt32?,
        of id: NodeID,
        at place: AuthorityControl.Place,
        now: CivilTime
    ) {
        guard let relay = relays[id] else { return }
        let claimed = relay.current.descriptor.bandwidthKilobits
        relays[id]?.rate.note(
            kilobits,
            at: place,
            claimed: min(claimed, VoteTally.unmeasuredLimitKilobits),
            growthSeconds: parameters.weightGrowthSeconds,
            now: now
        )
    }

    /// What the relay `id` counts for by measurement; 0 while there is none.
    public func measuredKilobits(of id: NodeID) -> UInt32 {
        relays[id]?.rate.kilobits ?? 0
    }

    /// Whether a test may go on to, or a measurement through, the relay `id`: it answered last time,
    /// and has been known since before `time`.
    func isHelper(_ id: NodeID, knownSince time: WallTime) -> Bool {
        guard let relay = relays[id] else { return false }
        return relay.standing == .running && relay.failureCount == 0 && relay.stuckCount == 0
            && relay.firstSeen <= time
    }

    // MARK: Votes

    /// What this authority votes for: relays that run, at most ``subnetLimit`` of one subnet.
    func entries(at time: WallTime, places: PlaceTable) -> [DirectoryVote.Entry] {
        var entries: [DirectoryVote.Entry] = []
        var subnets: [IPNetwork: Int] = [:]
        let byAge = relays.sorted { ($0.value.firstSeen, $0.key) < ($1.value.firstSeen, $1.key) }
        for (id, relay) in byAge where relay.standing == .running {
            let descriptor = relay.current.descriptor
            guard descriptor.circuitKeyExpiryMinute > time.minute, !isOld(descriptor, at: time)
            else { continue }
            let nets = descriptor.addresses.all.map { address in
                IPNetwork(address.ip, prefixBitCount: address.ip.isV4 ? 120 : 48)
            }
            guard nets.allSatisfy({ subnets[$0, default: 0] < Self.subnetLimit }) else { continue }
            for net in nets { subnets[net, default: 0] += 1 }
            let address = descriptor.addresses.v4 ?? descriptor.addresses.v6
            entries.append(
                DirectoryVote.Entry(
                    id: id,
                    descriptor: relay.digest,
                    publishedMinute: descriptor.publishedMinute,
                    flags: descriptor.flags.intersection(Self.knownFlags),
                    country: address.flatMap { places.countries[$0.ip] },
                    autonomousSystem: address.flatMap { places.systems[$0.ip] } ?? 0,
                    measuredKilobits: relay.rate.kilobits
                )
            )
        }
        return entries.sorted { $0.id < $1.id }
    }

    private static let knownFlags: RelayFlags = [.exit, .guardCapable, .exitsIPv6]
}

extension RelayRegister {
    /// What a restart must not lose of the relays: since when they are known, and what they carried.
    ///
    /// Layout: `version u8 = 1 | count u32 | count x (relay_id 32 | first seen u64 | rate)`.
    public func encodedHistory() -> [UInt8] {
        var writer = ByteWriter(capacity: 5 + relays.count * (40 + RelayRate.byteCount))
        writer.write(Self.historyVersion)
        writer.write(UInt32(relays.count))
        for (id, relay) in relays.sorted(by: { $0.key < $1.key }) {
            writer.write(id.rawValue)
            writer.write(relay.firstSeen.seconds)
            relay.rate.write(to: &writer)
        }
        return writer.bytes
    }

    /// Gives relays that are known what ``encodedHistory()`` wrote of them.
    ///
    /// - Throws: ``WireError`` for anything else.
    public mutating func restoreHistory(_ bytes: [UInt8], at now: WallTime) throws(WireError) {
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.historyVersion else {
            throw .unknown(field: "history version", value: UInt64(version))
        }
        let count = try reader.read(UInt32.self)
        for _ in 0..<count {
            let id = NodeID(try reader.readBytes32())
            let firstSeen = WallTime(seconds: try reader.read())
            let rate = try RelayRate(from: &reader)
            relays[id]?.firstSeen = min(firstSeen, now)
            relays[id]?.rate = rate
        }
        try reader.finish()
    }

    private static let historyVersion: UInt8 = 1
}

extension Descriptor {
    /// Whether a relay answers by this descriptor as by `other`: at the same places, with one key.
    fileprivate func answersLike(_ other: Descriptor) -> Bool {
        addresses == other.addresses && circuitKey == other.circuitKey
    }
}

/// Which relay is to be tested next: those never tested first, then the one tested longest ago.
///
/// An entry that no longer fits its relay is passed over when its turn comes.
private struct TestQueue: Sendable {
    private var new = Deque<NodeID>()
    private var tested = Deque<(id: NodeID, at: CivilTime)>()
    var runningCount = 0

    mutating func addNew(_ id: NodeID) {
        new.append(id)
    }

    mutating func add(_ id: NodeID, testedAt time: CivilTime) {
        tested.append((id, time))
    }

    /// The relay whose turn it is, and when it was tested last as far as the queue knows.
    var first: (id: NodeID, at: CivilTime?)? {
        if let id = new.first { return (id, nil) }
        return tested.first.map { ($0.id, $0.at) }
    }

    mutating func removeFirst() {
        if new.popFirst() == nil { tested.removeFirst() }
    }

    func nextDue(everyMilliseconds: UInt64) -> CivilTime {
        guard new.isEmpty else { return CivilTime(milliseconds: 0) }
        return tested.first.map { $0.at + everyMilliseconds } ?? .distantFuture
    }
}

extension RelayRegister.Refusal: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .unverified(let error): "\(error)"
        case .publishedInFuture:
            "published more than an hour ahead of this authority's clock: check the relay's clock"
        case .tooOld: "published too long ago: check the relay's clock"
        case .circuitKeyExpired: "its circuit key has expired"
        case .superseded: "a newer descriptor of this relay is known"
        case .addressTaken(let address, let owner): "\(address) answers as relay \(owner)"
        case .full: "this authority has no room for more relays"
        }
    }
}

extension RelayRegister.Standing: CustomStringConvertible {
    /// How it stands, for people.
    public var description: String {
        switch self {
        case .untested: "not tested yet"
        case .running: "running"
        case .unreachable(let reason): "unreachable: \(reason)"
        }
    }
}
