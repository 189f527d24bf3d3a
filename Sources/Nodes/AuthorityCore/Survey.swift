import Base
import CryptoPrimitives
import Directory
import Wire

/// Which relay an authority measures next, and through which others relays are measured and tested.
///
/// One measurement is under way at a time, the next one a pace later: each relay has its turn once in
/// `measure-seconds`. The others are drawn from a secret seed. Spec: §E.1.
struct Survey: Sendable {
    private static let leastPauseMilliseconds: UInt64 = 200
    /// How long a measurement may take beyond its time before it is given up.
    private static let graceMilliseconds: UInt64 = 10_000
    private static let drawLimit = 16

    private let parameters: NetworkParameters
    private var dice: Dice
    private var next: CivilTime
    private var current: (relay: NodeID, place: AuthorityControl.Place)?

    init(parameters: NetworkParameters, seed: Bytes32, now: CivilTime) {
        self.parameters = parameters
        dice = Dice(seed: seed)
        next = now
    }

    /// When ``advance(_:view:now:)`` has something to do.
    var nextDeadline: CivilTime {
        parameters.measureSeconds > 0 ? next : .distantFuture
    }

    /// Begins to measure the relay whose turn it is; `nil` where it is nobody's, or nobody helps.
    mutating func advance(
        _ register: inout RelayRegister,
        view: NetworkView?,
        now: CivilTime
    ) -> AuthorityControl.Measurement? {
        guard now >= nextDeadline else { return nil }
        current = nil
        next = now + pauseMilliseconds(view)
        guard let view, view.freshness(at: now.wall) != .expired,
            let id = register.nextToMeasure(where: { view.index(of: $0) != nil }),
            let relay = register.relays[id]?.current
        else { return nil }
        let place = register.beginMeasurement(of: id, at: now)
        guard
            let last = helper(
                besides: [id],
                able: RelayFeatures.probesAndProofs,
                register,
                view,
                now: now
            )
        else { return nil }
        var path = [relay, last]
        if place == .middle {
            let taken = [id, last.descriptor.id]
            guard let first = helper(besides: taken, register, view, now: now) else { return nil }
            path = [first, relay, last]
        }
        current = (id, place)
        next = now + UInt64(parameters.measureMilliseconds) + Self.graceMilliseconds
        return AuthorityControl.Measurement(relay: id, place: place, path: path)
    }

    /// Notes that a measurement has ended; false for one that was given up before.
    mutating func finish(
        _ relay: NodeID,
        at place: AuthorityControl.Place,
        view: NetworkView?,
        now: CivilTime
    ) -> Bool {
        guard let current, current == (relay, place) else { return false }
        self.current = nil
        next = now + pauseMilliseconds(view)
        return true
    }

    /// A relay that the one tested should pass a circuit on to; `nil` where it may not know any yet.
    mutating func onward(
        from signed: SignedDescriptor,
        _ register: RelayRegister,
        view: NetworkView?,
        now: CivilTime
    ) -> SignedDescriptor? {
        let id = signed.descriptor.id
        guard let view, view.freshness(at: now.wall) != .expired,
            let relay = register.relays[id], relay.firstSeen <= settledTime(now),
            // Every second test is enough; who failed one, or was dropped for it, has to pass the next.
            relay.testCount.isMultiple(of: 2) && view.index(of: id) != nil || relay.stuckCount > 0
        else { return nil }
        return helper(besides: [id], register, view, now: now)
    }

    /// A listed relay that runs and is known for two intervals, the faster of two drawn.
    private mutating func helper(
        besides taken: [NodeID],
        able features: UInt32 = 0,
        _ register: RelayRegister,
        _ view: NetworkView,
        now: CivilTime
    ) -> SignedDescriptor? {
        let time = settledTime(now)
        var found: [NodeID] = []
        for _ in 0..<Self.drawLimit where found.count < 2 && !view.relays.isEmpty {
            let record = view.relays[dice.next(below: view.relays.count)]
            let id = record.id
            guard record.features & features == features, !taken.contains(id),
                register.isHelper(id, knownSince: time)
            else { continue }
            found.append(id)
        }
        let fastest = found.max {
            register.measuredKilobits(of: $0) < register.measuredKilobits(of: $1)
        }
        return fastest.flatMap { register.relays[$0]?.current }
    }

    /// Who is known since then is known to the other relays too.
    private func settledTime(_ now: CivilTime) -> WallTime {
        let time = 2 * UInt64(parameters.intervalSeconds)
        return WallTime(seconds: now.wall.seconds - min(now.wall.seconds, time))
    }

    private func pauseMilliseconds(_ view: NetworkView?) -> UInt64 {
        let listed = UInt64(max(1, view?.relays.count ?? 1))
        let pace = UInt64(parameters.measureSeconds) * 1_000 / listed
        return max(pace, Self.leastPauseMilliseconds)
    }
}

/// Numbers nobody else can foresee, from a seed.
private struct Dice: Sendable {
    private let seed: Bytes32
    private var count: UInt64 = 0

    init(seed: Bytes32) {
        self.seed = seed
    }

    /// A number from 0 up to but not `bound`, which is small: no other is noticeably likelier.
    ///
    /// - Precondition: `bound` is not 0.
    mutating func next(below bound: Int) -> Int {
        count += 1
        var writer = ByteWriter(capacity: 8)
        writer.write(count)
        let digest = SHA256.digest(seed.bytes, writer.bytes)
        let word = digest.bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Int(word % UInt64(bound))
    }
}
