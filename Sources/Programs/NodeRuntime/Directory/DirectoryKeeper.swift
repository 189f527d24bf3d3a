import Base
import Directory
import DirectoryHTTP
import EventLoop
import Logging
import NodeConfiguration
import Wire

/// What a keeper tells its node.
enum DirectoryNews: Sendable {
    /// A view to work by from now on, and what to hand out to others.
    case view(NetworkView, DirectoryShelf)
    /// Nothing could be believed, for this reason.
    case refused(String)
    /// Authorities signed two documents for one interval; the proof is on disk.
    case alarm(String)
}

/// Keeps a relay's or a client's directory up to date: fetches, believes, stores, hands on.
///
/// Sources, in this order: the file the operator names; for clients a circuit, once there is one,
/// and mirrors; the authorities; and at the start what was on disk. Spec: §E.9.
actor DirectoryKeeper {
    /// How a node fetches.
    struct Settings: Sendable {
        /// The trust root with the authorities' addresses.
        var network: NetworkConfiguration
        /// A consensus got some other way; `nil` for none.
        var file: String?
        /// Where the node keeps its state.
        var stateFolder: String
        /// Whether the node is a client, which leaves the authorities alone where it can.
        var isClient: Bool
        /// The mark on its sockets; `nil` for none.
        var mark: UInt32?
    }

    /// Asks over a circuit.
    typealias CircuitFetch = @Sendable (DirectoryRequest) async -> DirectoryFetched

    /// The most bytes a document may have for this program: about 45,000 relays.
    static let documentLimit = 64 << 20
    private static let fetchTime: Duration = .seconds(60)
    private static let foundingTime: Duration = .seconds(3)
    private static let lookInterval: Duration = .milliseconds(250)

    private let settings: Settings
    private let root: TrustRoot
    private let store: DirectoryStore
    private let http: DirectoryClient
    private let logger: Logger
    private let tell: @Sendable (DirectoryNews) -> Void
    private var overCircuit: CircuitFetch?
    private var known: KnownDirectory
    private var shelf = DirectoryShelf()
    private var file: DirectoryFile?
    private var refusal: String?
    private var failures = 0
    private var toldDigest: Bytes32?
    // The hour in which a relay was last asked to show another document, by its name.
    private var comparedIn: [String: UInt64] = [:]
    // When a proof somebody sent was last looked at, in seconds.
    private var proofCheckedAt: UInt64 = 0
    /// How the document at hand was come by, for people.
    private(set) var source = "nothing yet"
    /// What is wrong with the authorities; `nil` for nothing.
    private(set) var alarm: String?

    /// Starts with what is on disk.
    init(
        _ settings: Settings,
        root: TrustRoot,
        logger: Logger,
        tell: @escaping @Sendable (DirectoryNews) -> Void
    ) {
        self.settings = settings
        self.root = root
        self.logger = logger
        self.tell = tell
        store = DirectoryStore(stateFolder: settings.stateFolder)
        http = DirectoryClient(mark: settings.mark)
        known = KnownDirectory(root: root, lastSeen: store.lastSeen)
        file = settings.file.map { DirectoryFile(path: $0) }
    }

    /// Whom it believes.
    nonisolated var trustRoot: TrustRoot { root }

    /// The document at hand.
    var document: ConsensusDocument? {
        known.believed
    }

    /// Uses circuits for fetching from now on.
    func use(_ fetch: @escaping CircuitFetch) {
        overCircuit = fetch
    }

    /// Keeps the directory until the task is cancelled.
    func run() async {
        loadFromDisk()
        // What is on disk will do until it gets old: nobody is asked in the clear for nothing.
        var nextFetch = known.believed == nil ? now : now + wait()
        if !settings.network.hasAddresses { nextFetch = .max }
        while !Task.isCancelled {
            lookAtFile()
            if now >= nextFetch {
                await fetch()
                await lookForProof()
                nextFetch = now + wait()
            }
            let left = nextFetch > now ? nextFetch - now : 0
            let pause = min(.milliseconds(Int64(clamping: left)), Self.lookInterval)
            try? await Task.sleep(for: file == nil ? .milliseconds(Int64(clamping: left)) : pause)
        }
    }

    private var now: UInt64 {
        WallClock.microsecondsSince1970() / 1_000
    }

    // MARK: When

    /// Milliseconds until the next fetch: after a failure soon, then ever later; else at a moment
    /// drawn after the document ceases to be fresh, so that not everybody asks at once.
    private func wait() -> UInt64 {
        guard let consensus = known.believed?.consensus else {
            return min(250 << UInt64(min(failures / 16, 5)), 5_000)
        }
        let interval = UInt64(consensus.parameters.intervalSeconds) * 1_000
        let due = consensus.freshUntil.seconds * 1_000
        guard due > now else {
            let step = min(max(interval / 20, 500), 60_000)
            return min(step << UInt64(min(failures, 4)), interval)
        }
        let window = settings.isClient ? interval / 10...interval / 4 : 100...interval / 10 + 100
        return due - now + UInt64.random(in: window)
    }

    // MARK: Sources

    private func loadFromDisk() {
        if let proof = store.proof(under: root) { raise(proof) }
        guard let cached = store.cached else { return }
        do throws(DirectoryError) {
            // One that has expired still shows where mirrors are.
            _ = try known.accept(
                cached,
                at: WallClock.now(),
                graceSeconds: TrustRoot.maximumGraceSeconds
            )
        } catch {
            return logger.notice("the directory of the last run is of no use: \(error)")
        }
        source = "the disk"
        publish()
    }

    private func lookAtFile() {
        guard let path = file?.path, let bytes = file?.changed() else { return }
        do throws(DirectoryError) {
            try believe(ConsensusDocument(parsing: bytes), from: path)
            file?.noteBelieved()
        } catch {
            refuse("\(path): \(error)")
        }
    }

    private func fetch() async {
        if let overCircuit, let base = known.believed {
            if case .bytes(let bytes) = await overCircuit(.diff(from: base.digest)), !bytes.isEmpty,
                take(diff: bytes, from: "a relay, over a circuit")
            {
                return
            }
            if case .bytes(let bytes) = await overCircuit(.newest),
                take(bytes, from: "a relay, over a circuit")
            {
                return
            }
        }
        for (address, name) in servers() {
            if Task.isCancelled { return }
            if await fetch(from: address, name) { return }
        }
        failures += 1
    }

    /// Whom to ask, in order: a client two mirrors first, a relay the authorities.
    private func servers() -> [(SocketAddress, String)] {
        let authorities = settings.network.authorities.shuffled().flatMap { authority in
            authority.addresses.prefix(1).map { ($0, authority.name) }
        }
        let relays = known.view?.relays ?? []
        let mirrors = relays.shuffled().prefix(2).compactMap { relay in
            (relay.addresses.v4 ?? relay.addresses.v6).map { ($0, relay.nickname) }
        }
        return settings.isClient ? mirrors + authorities : authorities + mirrors
    }

    /// Whether the server handed something newer over.
    private func fetch(from address: SocketAddress, _ name: String) async -> Bool {
        let time = known.believed == nil ? Self.foundingTime : Self.fetchTime
        do throws(DirectoryFetchError) {
            if let base = known.believed {
                let answer = try await http.send(
                    .diff(from: base.digest),
                    to: address,
                    known: base.digest,
                    limit: Self.documentLimit,
                    within: time
                )
                if case .notModified = answer { return false }
                if case .bytes(let bytes) = answer {
                    if bytes.isEmpty { return false }
                    if take(diff: bytes, from: name) { return true }
                }
            }
            let answer = try await http.send(
                .newest,
                to: address,
                known: known.believed?.digest,
                limit: Self.documentLimit,
                within: time
            )
            guard case .bytes(let bytes) = answer else {
                if known.believed == nil { refuse("\(name) has no consensus yet") }
                return false
            }
            return take(bytes, from: name)
        } catch {
            refuse("\(name): \(error)")
            return false
        }
    }

    // MARK: Believing

    private func take(_ bytes: [UInt8], from name: String) -> Bool {
        do throws(DirectoryError) {
            return try believe(ConsensusDocument(parsing: bytes), from: name)
        } catch {
            refuse("\(name): \(error)")
            return false
        }
    }

    private func take(diff bytes: [UInt8], from name: String) -> Bool {
        guard let base = known.believed, let chain = try? ConsensusDiffChain(parsing: bytes) else {
            return false
        }
        do throws(DirectoryError) {
            return try believe(base.applying(chain), from: name)
        } catch {
            refuse("\(name): \(error)")
            return false
        }
    }

    /// Takes a document over or says why not; gives whether it is newer.
    @discardableResult
    private func believe(
        _ document: ConsensusDocument,
        from name: String
    ) throws(DirectoryError) -> Bool {
        let isNew: Bool
        do throws(DirectoryError) {
            isNew = try known.accept(document, at: WallClock.now())
        } catch {
            if case .conflict = error, alarm == nil, let proof = known.equivocation {
                raise(proof)
                share(proof)
            }
            throw error
        }
        refusal = nil
        guard isNew else { return false }
        failures = 0
        source = name
        do {
            try store.store(document)
        } catch {
            logger.error("the directory cannot be stored in \(settings.stateFolder): \(error)")
        }
        publish()
        return true
    }

    private func publish() {
        guard let view = known.view, let document = known.believed else { return }
        shelf.add(document)
        guard view.freshness(at: WallClock.now()) != .expired else { return }
        tell(.view(view, shelf))
        guard toldDigest != view.digest else { return }
        toldDigest = view.digest
        logger.notice(
            "consensus \(view.digest.hex.prefix(8)) with \(view.relays.count) relays from \(source)",
            metadata: ["kind": "directory"]
        )
    }

    private func refuse(_ reason: String) {
        guard reason != refusal else { return }
        refusal = reason
        tell(.refused(reason))
    }

    private func raise(_ proof: Equivocation) {
        known.note(proof)
        guard alarm == nil else { return }
        shelf.add(proof)
        do {
            let path = try store.store(proof)
            alarm = "\(proof); proof in \(path)"
        } catch {
            alarm = "\(proof); the proof cannot be stored: \(error)"
        }
        tell(.alarm(alarm ?? ""))
        logger.critical("authorities contradict themselves: \(alarm ?? "")")
        publish()
    }

    // MARK: Comparing

    /// Looks into what a relay of a circuit says of its newest document.
    ///
    /// Where it names another one for the interval at hand, that document is had through the same
    /// circuit by `fetch`: it is the proof, or the relay has lied.
    /// - Returns: false where it answers and cannot show what it named. Silence says nothing, for
    ///   others can bring it about.
    @discardableResult
    func compare(
        validAfter: WallTime,
        digestPrefix: [UInt8],
        relay: String,
        fetch: CircuitFetch
    ) async -> Bool {
        guard !known.agrees(validAfter: validAfter, digestPrefix: digestPrefix) else { return true }
        // Whoever names a lie with every circuit is not asked each time.
        let hour = WallClock.now().seconds / 3_600
        guard comparedIn[relay] != hour else { return true }
        comparedIn[relay] = hour
        let bytes: [UInt8]
        switch await fetch(.document(digestPrefix: digestPrefix)) {
        case .silent:
            logger.notice("\(relay) names another consensus; asked for it, nothing was heard")
            return true
        case .refused:
            logger.warning("\(relay) names another consensus and does not show it")
            return false
        case .bytes(let answer): bytes = answer
        }
        guard let document = try? ConsensusDocument(parsing: bytes),
            document.digest.bytes.starts(with: digestPrefix),
            document.consensus.validAfter == validAfter
        else {
            logger.warning("\(relay) names another consensus and shows something else")
            return false
        }
        do throws(DirectoryError) {
            _ = try believe(document, from: relay)
        } catch {
            logger.warning("\(relay) names another consensus: \(error)")
            // A conflict is the authorities' doing; what they have not signed is the relay's.
            if case .conflict = error { return true }
            return root.signers(of: document).count >= root.threshold
        }
        return true
    }
}

// MARK: Proofs

extension DirectoryKeeper {
    private static let proofLimit = 64 << 20
    private static let proofTime: Duration = .seconds(20)
    private static let proofPauseSeconds: UInt64 = 10

    /// Asks whether somebody has proof against authorities: over a circuit, or one who was asked for
    /// the directory too.
    private func lookForProof() async {
        guard alarm == nil, known.view != nil else { return }
        if let overCircuit, case .bytes(let bytes) = await overCircuit(.proof) {
            return take(proof: bytes, from: "a relay, over a circuit")
        }
        guard !settings.isClient, let (address, name) = servers().first else { return }
        let answer = try? await http.send(
            .proof,
            to: address,
            limit: Self.proofLimit,
            within: Self.proofTime
        )
        if case .bytes(let bytes) = answer { take(proof: bytes, from: name) }
    }

    private func take(proof bytes: [UInt8], from name: String) {
        guard alarm == nil else { return }
        do throws(DirectoryError) {
            raise(try Equivocation(parsing: bytes, under: root))
        } catch {
            logger.warning("\(name) hands out a proof that is none: \(error)")
        }
    }

    /// Shows a proof found by this node to mirrors and authorities, which hand it on.
    private func share(_ proof: Equivocation) {
        let (http, logger, servers) = (http, logger, servers())
        let bytes = proof.encoded()
        Task {
            for (address, name) in servers {
                do throws(DirectoryFetchError) {
                    _ = try await http.send(
                        .post(.proof, bytes),
                        to: address,
                        limit: 4_096,
                        within: Self.proofTime
                    )
                } catch {
                    logger.info("\(name) does not take the proof: \(error)")
                }
            }
        }
    }

    /// Lets the next proof be looked at without a wait.
    func forgetProofLook() {
        proofCheckedAt = 0
    }

    /// The largest proof a mirror takes from others.
    static var acceptedProofByteCount: Int { proofLimit }

    private func receive(proof bytes: [UInt8]) -> DirectoryAnswer {
        guard alarm == nil else { return .accepted("known") }
        let now = WallClock.now().seconds
        guard now >= proofCheckedAt + Self.proofPauseSeconds else {
            return .unavailable("one was looked at a moment ago")
        }
        proofCheckedAt = now
        do throws(DirectoryError) {
            raise(try Equivocation(parsing: bytes, under: root))
            return .accepted("")
        } catch {
            return .refused("\(error)")
        }
    }
}

extension DirectoryKeeper: DirectoryService {
    /// What a mirror answers: documents and proofs.
    func answer(_ request: DirectoryRequest) -> DirectoryAnswer {
        guard case .post(.proof, let bytes) = request else { return shelf.answer(request) }
        return receive(proof: bytes)
    }
}

extension DirectoryShelf {
    /// The answer of whoever has these documents.
    func answer(_ request: DirectoryRequest) -> DirectoryAnswer {
        switch request {
        case .newest:
            guard let newest else { return .notFound }
            return .bytes(newestBytes, tag: newest.digest)
        case .document(let prefix):
            return document(digestPrefix: prefix).map { .bytes($0, tag: nil) } ?? .notFound
        case .diff(let base):
            return diff(from: base).map { .bytes($0, tag: newest?.digest) } ?? .notFound
        case .proof: return proof.map { .bytes($0, tag: nil) } ?? .notFound
        case .post: return .notFound
        }
    }
}
