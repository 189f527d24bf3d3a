public import Base
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
        var measuredKilobits: UInt32 = 0
    }

    private(set) var relays: [NodeID: Relay] = [:]
    // Addresses of relays that run: who claims one waits until its relay is gone.
    private var owners: [SocketAddress: NodeID] = [:]
    private var byDigest: [Bytes32: NodeID] = [:]
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
        if known.addresses != descriptor.addresses || known.circuitKey != descriptor.circuitKey {
            relay.testedAt = nil
            relay.isTesting = false
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
        let running = relays.values.count { $0.isTesting }
        guard running < limit else { return [] }
        let due = relays.filter { _, relay in
            !relay.isTesting && relay.testedAt.map { $0 + everyMilliseconds <= now } ?? true
        }
        let first = due.sorted {
            ($0.value.testedAt?.milliseconds ?? 0, $0.key)
                < ($1.value.testedAt?.milliseconds ?? 0, $1.key)
        }.prefix(limit - running)
        for (id, _) in first { relays[id]?.isTesting = true }
        return first.map(\.value.current)
    }

    /// When the next test is due; never while `limit` run.
    func nextTest(everyMilliseconds: UInt64, limit: Int) -> CivilTime {
        guard relays.values.count(where: { $0.isTesting }) < limit else { return .distantFuture }
        var next = CivilTime.distantFuture
        for relay in relays.values where !relay.isTesting {
            let due = relay.testedAt.map { $0 + everyMilliseconds }
            next = min(next, due ?? CivilTime(milliseconds: 0))
        }
        return next
    }

    /// Notes how a test of the descriptor with this digest went; a `reason` says that it failed.
    ///
    /// A relay that runs is given up at the second failure in a row, any other at the first.
    /// - Returns: whether the relay stands otherwise than before.
    mutating func noteTest(
        of digest: Bytes32,
        failure reason: String?,
        at now: CivilTime
    ) -> Bool {
        guard let id = byDigest[digest], var relay = relays[id], relay.digest == digest else {
            return false
        }
        let before = relay.standing
        relay.isTesting = false
        relay.testedAt = now
        if let reason {
            relay.failureCount += 1
            let isKept = relay.standing == .running && relay.failureCount < Self.failureLimit
            if !isKept { relay.standing = .unreachable(reason) }
            // Once more, soon: one lost test is not an end.
            if isKept { relay.testedAt = nil }
        } else {
            relay.failureCount = 0
            relay.standing = .running
        }
        relays[id] = relay
        guard relay.standing != before else { return false }
        if relay.standing == .running { takeAddresses(for: id) } else { releaseAddresses(of: id) }
        return true
    }

    private static let failureLimit = 2

    /// Notes what a relay carried when it was measured.
    mutating func noteMeasured(_ kilobits: UInt32, of id: NodeID) {
        guard let known = relays[id]?.measuredKilobits else { return }
        // Growth is capped: a good minute does not draw half of the network's traffic.
        let limit = known == 0 ? UInt32.max : UInt32(clamping: UInt64(known) * 2)
        relays[id]?.measuredKilobits = max(1, min(kilobits, limit))
    }

    // MARK: Votes

    /// What this authority votes for: relays that run, at most ``subnetLimit`` of one subnet.
    func entries(at time: WallTime, countries: CountryTable) -> [DirectoryVote.Entry] {
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
                    country: address.flatMap { countries.country(of: $0.ip) },
                    measuredKilobits: relay.measuredKilobits
                )
            )
        }
        return entries.sorted { $0.id < $1.id }
    }

    private static let knownFlags: RelayFlags = [.exit, .guardCapable, .exitsIPv6]
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
