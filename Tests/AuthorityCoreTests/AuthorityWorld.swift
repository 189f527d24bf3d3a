import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

/// Authorities and relays in virtual time, with a network between them that loses and delays.
final class AuthorityWorld {
    /// What an authority does that is not honest.
    enum Fault: Hashable, CaseIterable {
        /// Sends one half of the others another vote than the other half.
        case equivocates
        /// Sends its second vote only in the last round, to one other.
        case equivocatesLate
        /// Votes for relays there are not, with numbers out of the air, and signs anything.
        case votesGarbage
        /// Says nothing.
        case withholds
        /// Says everything three seconds late.
        case isSlow
        /// Lives a day ahead.
        case isAheadOfTime
        /// Lives a day behind.
        case isBehindTime
    }

    enum Message {
        case vote(SignedVote)
        case signatures(SignatureNotice)
        case askDescriptors([Bytes32])
        case descriptors([SignedDescriptor])
        case askDocument
        case document(ConsensusDocument?)
        case tested(Bytes32, RelayRegister.TestOutcome)
        case measured(NodeID, AuthorityControl.Place, kilobits: UInt32?)
    }

    struct Delivery {
        var at: UInt64
        var from: UInt8
        var to: Int
        var message: Message
    }

    static let start: UInt64 = 1_800_000_000_000
    let network = NetworkID(SHA256.digest(Array("authorities".utf8)))
    let root: TrustRoot
    let keys: [Ed25519.SigningKey]
    var parameters = NetworkParameters.lab
    var places = PlaceTable()
    var now = AuthorityWorld.start
    var random: RandomGenerator
    var authorities: [AuthorityControl?]
    var faults: [Int: Fault] = [:]
    var memories: [AuthorityMemory]
    var documents: [[ConsensusDocument]]
    var reports: [[AuthorityControl.Report]]
    var deadRelays: Set<NodeID> = []
    /// Relays that echo, and pass nothing on.
    var stuckRelays: Set<NodeID> = []
    /// What relays carry, in kilobits a second; those not named carry 50,000.
    var capacities: [NodeID: UInt32] = [:]
    /// What relays carry for whom they take for an authority.
    var boasts: [NodeID: UInt32] = [:]
    private(set) var measuredPaths: [[NodeID]] = []
    var latency: ClosedRange<UInt64> = 5...60
    var lossPerMille: UInt64 = 0
    private var deliveries: [Delivery] = []

    init(_ count: Int = 4, threshold: Int = 3, seed: UInt64 = 1) throws {
        let keys = (0..<count).map { Self.key("authority", $0) }
        self.keys = keys
        root = try TrustRoot(
            network: network,
            threshold: threshold,
            authorities: keys.enumerated().map { index, key in
                TrustRoot.Authority(index: UInt8(index), key: key.publicKey, name: "a\(index)")
            }
        )
        random = RandomGenerator(
            seed: Secret(copying: SHA256.digest(Array("world \(seed)".utf8)).bytes)
        )
        authorities = [AuthorityControl?](repeating: nil, count: count)
        memories = [AuthorityMemory](repeating: AuthorityMemory(), count: count)
        documents = [[ConsensusDocument]](repeating: [], count: count)
        reports = [[AuthorityControl.Report]](repeating: [], count: count)
    }

    static func key(_ name: String, _ index: Int) -> Ed25519.SigningKey {
        let seed = SHA256.digest(Array("\(name) \(index)".utf8))
        return Ed25519.SigningKey(seed: Secret(copying: seed.bytes))
    }

    static func relay(_ index: Int) -> NodeID {
        NodeID(key("relay", index).publicKey)
    }

    func descriptor(
        _ index: Int,
        address: UInt32? = nil,
        port: UInt16 = 4433,
        keyByte: UInt8? = nil,
        policy: DescribedPolicy? = nil
    ) throws -> SignedDescriptor {
        let isExit = index.isMultiple(of: 3)
        let minute = UInt32(truncatingIfNeeded: now / 60_000)
        let key = Self.key("relay", index)
        return try SignedDescriptor(
            signing: Descriptor(
                network: network,
                id: NodeID(key.publicKey),
                circuitKey: [UInt8](repeating: keyByte ?? UInt8(index & 255), count: 1216),
                circuitKeyExpiryMinute: minute + 2_880,
                publishedMinute: minute,
                addresses: try RelayAddresses(
                    v4: SocketAddress(
                        ip: IPAddress(v4: address ?? 0x0b00_0001 &+ UInt32(index) << 8),
                        port: port
                    ),
                    v6: nil
                ),
                flags: isExit ? [.exit] : .guardCapable,
                bandwidthKilobits: UInt32(1_000 + index),
                features: RelayFeatures.current,
                policy: policy ?? (isExit ? .standard : .none),
                nickname: "relay-\(index)"
            ),
            with: key
        )
    }

    func clock(of index: Int) -> CivilTime {
        switch faults[index] {
        case .isAheadOfTime: CivilTime(milliseconds: now + 86_400_000)
        case .isBehindTime: CivilTime(milliseconds: now - 86_400_000)
        default: CivilTime(milliseconds: now)
        }
    }

    /// Starts the authority at `index`, with what it had on disk.
    func startAuthority(_ index: Int, keepsDisk: Bool = true) {
        if !keepsDisk { memories[index] = AuthorityMemory() }
        authorities[index] = AuthorityControl(
            root: root,
            key: keys[index],
            parameters: parameters,
            places: places,
            memory: memories[index],
            document: keepsDisk ? documents[index].last : nil,
            seed: SHA256.digest(Array("dice \(index)".utf8)),
            now: clock(of: index)
        )
        drain(index)
    }

    func stopAuthority(_ index: Int) {
        authorities[index] = nil
        deliveries.removeAll { $0.to == index }
    }

    func startAll() {
        for index in authorities.indices { startAuthority(index) }
    }

    /// Hands a relay's descriptor to every authority that runs.
    func register(_ descriptor: SignedDescriptor) {
        for index in authorities.indices where authorities[index] != nil {
            _ = try? authorities[index]?.receive(descriptor, now: clock(of: index))
            drain(index)
        }
    }

    /// Lets `milliseconds` pass.
    func run(milliseconds: UInt64) {
        let end = now + milliseconds
        while true {
            var next = deliveries.map(\.at).min() ?? .max
            for index in authorities.indices {
                guard let deadline = authorities[index]?.nextDeadline.milliseconds else { continue }
                let mine = clock(of: index).milliseconds
                next = min(next, deadline <= mine ? now : now + (deadline - mine))
            }
            guard next <= end else {
                now = end
                return
            }
            now = max(now, next)
            deliver()
            for index in authorities.indices {
                let clock = clock(of: index)
                guard let deadline = authorities[index]?.nextDeadline, deadline <= clock else {
                    continue
                }
                authorities[index]?.advance(to: clock)
                drain(index)
                guard (authorities[index]?.nextDeadline ?? .distantFuture) > clock else {
                    Issue.record("authority \(index) waits for what is past")
                    now = end
                    return
                }
            }
        }
    }

    private func deliver() {
        let due = deliveries.filter { $0.at <= now }
        deliveries.removeAll { $0.at <= now }
        for delivery in due {
            let (index, clock) = (delivery.to, clock(of: delivery.to))
            guard authorities[index] != nil else { continue }
            switch delivery.message {
            case .vote(let vote): authorities[index]?.receive(vote, now: clock)
            case .signatures(let notice): authorities[index]?.receive(notice, now: clock)
            case .askDescriptors(let digests):
                guard faults[index] != .withholds else { continue }
                let found = digests.compactMap { authorities[index]?.register.descriptor($0) }
                post(.descriptors(found), from: index, to: delivery.from)
            case .descriptors(let found):
                authorities[index]?.receive(descriptors: found, now: clock)
            case .askDocument:
                guard faults[index] != .withholds else { continue }
                post(.document(authorities[index]?.newest), from: index, to: delivery.from)
            case .document(let document):
                authorities[index]?.receive(
                    document: document,
                    from: delivery.from,
                    now: clock
                )
            case .tested(let digest, let outcome):
                authorities[index]?.finishTest(of: digest, outcome, now: clock)
            case .measured(let relay, let place, let kilobits):
                authorities[index]?.finishMeasurement(
                    of: relay,
                    at: place,
                    kilobits: kilobits,
                    now: clock
                )
            }
            drain(index)
        }
    }

    private func post(_ message: Message, from: Int, to: UInt8) {
        guard random.next(below: 1_000) >= lossPerMille else { return }
        var delay = latency.lowerBound
        delay += random.next(below: latency.upperBound - latency.lowerBound + 1)
        if faults[from] == .isSlow { delay += 3_000 }
        deliveries.append(
            Delivery(at: now + delay, from: UInt8(from), to: Int(to), message: message)
        )
    }

    private func drain(_ index: Int) {
        while let action = authorities[index]?.nextAction() {
            switch action {
            case .store(let memory): memories[index] = memory
            case .sendVote(let vote, let to): send(vote, from: index, to: to)
            case .sendSignatures(let notice, let to):
                guard faults[index] != .withholds else { continue }
                post(.signatures(notice), from: index, to: to)
            case .fetchDescriptors(let digests, let to):
                post(.askDescriptors(digests), from: index, to: to)
            case .fetchDocument(let to): post(.askDocument, from: index, to: to)
            case .test(let descriptor, let onward):
                let outcome = tested(descriptor, onward)
                deliveries.append(
                    Delivery(
                        at: now + (outcome == .answered ? 20 : 2_500),
                        from: 0,
                        to: index,
                        message: .tested(descriptor.digest, outcome)
                    )
                )
            case .measure(let measurement):
                deliveries.append(
                    Delivery(
                        at: now + 100,
                        from: 0,
                        to: index,
                        message: .measured(
                            measurement.relay,
                            measurement.place,
                            kilobits: measured(measurement)
                        )
                    )
                )
            case .publish(let document):
                if documents[index].last?.digest == document.digest {
                    documents[index].removeLast()
                }
                documents[index].append(document)
            case .report(let report): reports[index].append(report)
            }
        }
    }

    private func tested(
        _ descriptor: SignedDescriptor,
        _ onward: SignedDescriptor?
    ) -> RelayRegister.TestOutcome {
        let id = descriptor.descriptor.id
        if deadRelays.contains(id) { return .silent("no answer") }
        guard let next = onward?.descriptor.id else { return .answered }
        let isThrough = !stuckRelays.contains(id) && !deadRelays.contains(next)
        return isThrough ? .answered : .stuck("passes nothing on")
    }

    /// The slowest relay of a path decides; what only echoes at its end need not pass anything on.
    private func measured(_ measurement: AuthorityControl.Measurement) -> UInt32? {
        let path = measurement.path.map(\.descriptor.id)
        measuredPaths.append(path)
        guard !path.contains(where: deadRelays.contains),
            !path.dropLast().contains(where: stuckRelays.contains)
        else { return nil }
        return path.enumerated().map { place, id in
            (place == 0 ? boasts[id] : nil) ?? capacities[id] ?? 50_000
        }.min()
    }

    private func send(_ vote: SignedVote, from index: Int, to: UInt8) {
        let isOwn = Int(vote.vote.author) == index
        switch faults[index] {
        case .withholds: return
        case .equivocates where isOwn && Int(to) % 2 == 0:
            if let other = try? altered(vote, dropping: 1) {
                return post(.vote(other), from: index, to: to)
            }
        case .equivocatesLate where isOwn:
            if Int(to) == (index + 1) % authorities.count,
                let other = try? altered(vote, dropping: 2)
            {
                // One signature in the second round: too few, and to one authority only.
                deliveries.append(
                    Delivery(at: now + 500, from: UInt8(index), to: Int(to), message: .vote(other))
                )
            }
        case .votesGarbage where isOwn:
            if let garbage = try? garbage(vote) {
                return post(.vote(garbage), from: index, to: to)
            }
        default: break
        }
        post(.vote(vote), from: index, to: to)
    }

    private func altered(_ vote: SignedVote, dropping count: Int) throws -> SignedVote {
        var other = vote.vote
        other.entries.removeFirst(min(count, other.entries.count))
        return try SignedVote(signing: other, with: keys[Int(vote.vote.author)])
    }

    private func garbage(_ vote: SignedVote) throws -> SignedVote {
        var other = vote.vote
        other.parameters.validSeconds = 31_000_000
        other.parameters.guardPrimaryCount = 1
        var log = DirectoryLog()
        log.append(random.bytes32())
        other.log = log.encoded()
        let invented = DirectoryVote.Entry(
            id: NodeID(random.bytes32()),
            descriptor: random.bytes32(),
            publishedMinute: .max,
            flags: [.exit, .guardCapable],
            measuredKilobits: .max
        )
        for position in other.entries.indices {
            other.entries[position].descriptor = random.bytes32()
            other.entries[position].publishedMinute = .max
            other.entries[position].measuredKilobits = .max
            other.entries[position].country = CountryCode("XX")
        }
        other.entries = (other.entries + [invented]).sorted { $0.id < $1.id }
        return try SignedVote(signing: other, with: keys[Int(vote.vote.author)])
    }

    /// The indexes of those who do as they should.
    var honest: [Int] {
        authorities.indices.filter { faults[$0] == nil }
    }

    /// Whether no two documents of honest authorities contradict each other, and each follows from
    /// one before.
    func checkAgreement(sourceLocation: SourceLocation = #_sourceLocation) {
        var digests: [WallTime: Bytes32] = [:]
        for index in honest {
            for document in documents[index] {
                let time = document.consensus.validAfter
                #expect(
                    digests[time] == nil || digests[time] == document.digest,
                    "two documents for \(time.seconds)",
                    sourceLocation: sourceLocation
                )
                digests[time] = document.digest
                #expect(
                    root.signers(of: document).count >= root.threshold,
                    sourceLocation: sourceLocation
                )
            }
        }
    }

    /// Whether the documents of the authority at `index` are one chain without a gap.
    func checkChain(_ index: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        var log = DirectoryLog()
        for document in documents[index] {
            let consensus = document.consensus
            #expect(consensus.logSize == log.size, sourceLocation: sourceLocation)
            #expect(consensus.logRoot == log.root, sourceLocation: sourceLocation)
            #expect(consensus.previousDigest == log.lastDigest, sourceLocation: sourceLocation)
            log.append(document.digest)
        }
    }
}
