import AuthorityCore
import Base
import CLinux
import CryptoPrimitives
import Directory
import EventLoop
import Wire

/// Four authorities that agree on a network of relays in virtual time, fed from memory.
///
/// Every message is written and read as it is on the network. What is measured is processor time of
/// the first authority, with the time the schedule makes it wait left out.
struct DirectoryBench {
    private enum Message {
        case vote([UInt8])
        case signatures([UInt8])
        case askDescriptors([Bytes32], by: Int)
        case descriptors([SignedDescriptor])
        case document(ConsensusDocument?, from: UInt8)
        case tested(Bytes32)
    }

    private struct Delivery {
        var at: UInt64
        var to: Int
        var message: Message
    }

    private static let start: UInt64 = 1_800_000_000_000
    private static let latencyMilliseconds: UInt64 = 20
    private static let authorityCount = 4

    let root: TrustRoot
    let relayCount: Int
    /// The documents of two intervals; a part of all relays has a new key in the second.
    private(set) var documents: [ConsensusDocument] = []
    /// Processor time of the first authority for each of the two.
    private(set) var rounds: [TimeSpan] = []
    /// Processor time of the first authority to take all descriptors.
    private(set) var registering = TimeSpan.zero
    /// Memory one authority takes with all of it.
    private(set) var authorityByteCount = 0

    private let network = NetworkID(SHA256.digest(Array("directory bench".utf8)))
    private let parameters = NetworkParameters()
    private let keys: [Ed25519.SigningKey]
    private let relays: RelayPlan
    private var authorities: [AuthorityControl] = []
    private var deliveries: [Delivery] = []
    private var now = DirectoryBench.start
    private var spent = TimeSpan.zero

    /// Makes the network's keys.
    init(relayCount: Int) throws {
        self.relayCount = relayCount
        keys = (0..<Self.authorityCount).map { index in
            let seed = SHA256.digest(Array("authority \(index)".utf8))
            return Ed25519.SigningKey(seed: Secret(copying: seed.bytes))
        }
        root = try TrustRoot(
            network: network,
            threshold: 3,
            authorities: keys.enumerated().map { index, key in
                TrustRoot.Authority(index: UInt8(index), key: key.publicKey, name: "a\(index)")
            }
        )
        relays = RelayPlan(network: network, count: relayCount)
    }

    /// Registers all relays and lets two intervals pass.
    ///
    /// - Throws: ``LabError`` when the authorities come to no document.
    mutating func run() throws {
        let before = Self.heapByteCount()
        var places = PlaceTable()
        places.countries.add(relays.countries)
        authorities = keys.map { key in
            AuthorityControl(
                root: root,
                key: key,
                parameters: parameters,
                places: places,
                seed: .zero,
                now: CivilTime(milliseconds: now)
            )
        }
        try register(relays.descriptors(at: now, renewed: false))
        registering = spent
        try agree()
        try register(relays.descriptors(at: now, renewed: true))
        try agree()
        authorityByteCount = (Self.heapByteCount() - before) / Self.authorityCount
        authorities = []
    }

    private mutating func register(_ descriptors: [SignedDescriptor]) throws {
        for descriptor in descriptors {
            for index in authorities.indices {
                let begun = MonotonicClock.now()
                _ = try authorities[index].receive(descriptor, now: CivilTime(milliseconds: now))
                if index == 0 { spent = spent + (MonotonicClock.now() - begun) }
                try drain(index)
            }
        }
    }

    /// Lets time pass until every authority has a newer document.
    private mutating func agree() throws {
        spent = .zero
        let known = documents.last?.digest
        let limit = now + 2 * UInt64(parameters.intervalSeconds) * 1_000
        while now < limit {
            let next = min(
                deliveries.map(\.at).min() ?? .max,
                authorities.map(\.nextDeadline.milliseconds).min() ?? .max
            )
            now = max(now, next)
            let due = deliveries.filter { $0.at <= now }
            deliveries.removeAll { $0.at <= now }
            for delivery in due { try deliver(delivery) }
            for index in authorities.indices
            where authorities[index].nextDeadline.milliseconds <= now {
                try measured(index) { $0.advance(to: $1) }
            }
            let newest = authorities.compactMap(\.newest)
            guard let first = newest.first, first.digest != known,
                newest.count == authorities.count,
                newest.allSatisfy({ $0.digest == first.digest })
            else { continue }
            guard first.consensus.relays.count == relayCount else {
                throw LabError(
                    "authorities list \(first.consensus.relays.count) of \(relayCount) relays",
                    why: "some were left out"
                )
            }
            documents.append(first)
            rounds.append(spent)
            return
        }
        throw LabError("no document of \(relayCount) relays", why: "the authorities do not agree")
    }

    /// Changes the authority at `index`; of the first, the time that takes counts.
    private mutating func measured(
        _ index: Int,
        _ body: (inout AuthorityControl, CivilTime) throws -> Void
    ) throws {
        let begun = MonotonicClock.now()
        try body(&authorities[index], CivilTime(milliseconds: now))
        if index == 0 { spent = spent + (MonotonicClock.now() - begun) }
        try drain(index)
    }

    private mutating func deliver(_ delivery: Delivery) throws {
        let index = delivery.to
        switch delivery.message {
        case .vote(let bytes):
            try measured(index) { $0.receive(try SignedVote(parsing: bytes), now: $1) }
        case .signatures(let bytes):
            try measured(index) { $0.receive(try SignatureNotice(parsing: bytes), now: $1) }
        case .askDescriptors(let digests, let asker):
            let found = digests.compactMap { authorities[index].register.descriptor($0) }
            post(.descriptors(found), to: asker)
        case .descriptors(let found):
            try measured(index) { $0.receive(descriptors: found, now: $1) }
        case .document(let document, let from):
            try measured(index) { $0.receive(document: document, from: from, now: $1) }
        case .tested(let digest):
            // Looking for relays goes on all the time: it is no part of a round.
            authorities[index].finishTest(
                of: digest,
                .answered,
                now: CivilTime(milliseconds: now)
            )
            try drain(index)
        }
    }

    private mutating func drain(_ index: Int) throws {
        while let action = authorities[index].nextAction() {
            switch action {
            case .sendVote(let vote, let to): post(.vote(vote.encoded()), to: Int(to))
            case .sendSignatures(let notice, let to):
                post(.signatures(notice.encoded()), to: Int(to))
            case .fetchDescriptors(let digests, let from):
                post(.askDescriptors(digests, by: index), to: Int(from))
            case .fetchDocument(let from):
                post(.document(authorities[Int(from)].newest, from: from), to: index)
            case .test(let descriptor, _): post(.tested(descriptor.digest), to: index)
            case .store, .publish, .report, .measure: break
            }
        }
    }

    private mutating func post(_ message: Message, to index: Int) {
        deliveries.append(
            Delivery(at: now + Self.latencyMilliseconds, to: index, message: message)
        )
    }

    /// What a client does with a document: reads it, verifies it, and looks relays up in it.
    ///
    /// - Returns: the view, the time that took, and the memory it takes.
    static func read(
        _ bytes: [UInt8],
        root: TrustRoot
    ) throws -> (view: NetworkView, time: TimeSpan, byteCount: Int) {
        let before = heapByteCount()
        let begun = MonotonicClock.now()
        let document = try ConsensusDocument(parsing: bytes)
        let view = try root.verify(document, at: document.consensus.validAfter)
        let time = MonotonicClock.now() - begun
        return (view, time, heapByteCount() - before)
    }

    /// Bytes of memory in use.
    private static func heapByteCount() -> Int {
        Int(clinux_heap_bytes())
    }
}

/// Relays of all kinds, families, countries and subnets, the same in every run.
struct RelayPlan {
    /// Relays of the family that is largest: one in so many.
    static let largestFamilyShare = 10
    private static let countryNames = ["DE", "FR", "NL", "CH", "US"]
    private static let firstAddress: UInt32 = 0x0b00_0000

    let network: NetworkID
    let count: Int

    /// The country of each relay, as authorities read it.
    var countries: String {
        // Blocks of 64 networks in turn.
        stride(from: 0, to: count, by: 64).map { index in
            let first = Self.firstAddress + UInt32(index) << 8
            let country = Self.countryNames[index / 64 % Self.countryNames.count]
            return "\(first),\(first + 64 << 8 - 1),\(country)\n"
        }.joined()
    }

    /// The relays' descriptors of `time`; `renewed` gives those of one in 24 a new key.
    func descriptors(at time: UInt64, renewed: Bool) throws -> [SignedDescriptor] {
        try (0..<count).compactMap { index in
            let isRenewed = index.isMultiple(of: 24)
            guard !renewed || isRenewed else { return nil }
            // Two of one minute would contradict each other.
            let minute = UInt32(time / 60_000) + (renewed ? 1 : 0)
            return try descriptor(index, minute: minute, renewed: renewed)
        }
    }

    private func descriptor(
        _ index: Int,
        minute: UInt32,
        renewed: Bool
    ) throws -> SignedDescriptor {
        let key = key("relay", index)
        let id = NodeID(key.publicKey)
        // Numbers without order, and the same in every run.
        let dice = SHA256.digest(Array("dice \(index)".utf8)).bytes
        let flags: RelayFlags =
            switch dice[0] % 10 {
            case 0, 1: .exit
            case 2: [.exit, .guardCapable]
            case 3, 4, 5: .guardCapable
            default: []
            }
        var filler = RandomGenerator(
            seed: Secret(copying: SHA256.digest(Array("key \(index) \(renewed)".utf8)).bytes)
        )
        var family: Int?
        if index.isMultiple(of: Self.largestFamilyShare) {
            family = 0
        } else if dice[1] < 64 {
            family = 1 + Int(dice[2] % 50)
        }
        return try SignedDescriptor(
            signing: Descriptor(
                network: network,
                id: id,
                circuitKey: filler.bytes(1_216),
                circuitKeyExpiryMinute: minute + 2_880,
                publishedMinute: minute,
                addresses: RelayAddresses(
                    v4: SocketAddress(
                        ip: IPAddress(v4: Self.firstAddress + UInt32(index) << 8 + 1),
                        port: 4433
                    ),
                    v6: nil
                ),
                flags: flags,
                bandwidthKilobits: 100 + UInt32(dice[3]) << 5 + UInt32(dice[4]),
                features: RelayFeatures.current,
                policy: flags.contains(.exit) ? .standard : .none,
                family: family.map {
                    Descriptor.FamilyCertificate(
                        certifying: id,
                        in: network,
                        with: self.key("family", $0)
                    )
                },
                nickname: "relay-\(index)"
            ),
            with: key
        )
    }

    private func key(_ name: String, _ index: Int) -> Ed25519.SigningKey {
        let seed = SHA256.digest(Array("\(name) \(index)".utf8))
        return Ed25519.SigningKey(seed: Secret(copying: seed.bytes))
    }
}
