import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

@Suite("Whom a node believes (matrix rows 51, 52)")
struct TrustRootTests {
    let sample: SampleNetwork

    init() throws {
        sample = try SampleNetwork()
    }

    private func error(
        _ document: ConsensusDocument,
        at now: WallTime? = nil,
        lastSeen: TrustRoot.LastSeen? = nil
    ) -> DirectoryError? {
        do {
            _ = try sample.root.verify(document, at: now ?? sample.start, lastSeen: lastSeen)
            return nil
        } catch { return error }
    }

    @Test(
        "any three of four signatures are enough",
        arguments: [[0, 1, 2], [3, 1, 0], [2, 3, 1], [0, 1, 2, 3]]
    )
    func enough(signers: [Int]) throws {
        let document = try sample.document(signers: signers)
        let view = try sample.root.verify(document, at: sample.start)
        #expect(view.relays.count == 9)
        #expect(sample.root.signers(of: document).map { Int($0.index) } == signers.sorted())
    }

    @Test("two signatures are too few, and the error names who is missing")
    func tooFew() throws {
        let found = error(try sample.document(signers: [1, 3]))
        guard case .signatures(let shortfall) = found else {
            Issue.record("\(String(describing: found))")
            return
        }
        #expect(shortfall.valid == ["authority-1", "authority-3"])
        #expect(shortfall.missing == ["authority-0", "authority-2"])
        #expect(
            found?.description
                == "2 of 3 needed signatures; missing: authority-0, authority-2"
        )
    }

    @Test("an authority that signs twice counts once")
    func duplicate() throws {
        let signed = try sample.document(signers: [0, 1])
        let frame = try ConsensusFrame(
            body: signed.body,
            signatures: signed.signatures + signed.signatures
        )
        let document = try ConsensusDocument(parsing: frame.encoded())
        #expect(document.signatures.count == 4)
        guard case .signatures(let shortfall) = error(document) else {
            Issue.record("believed two authorities")
            return
        }
        #expect(shortfall.valid == ["authority-0", "authority-1"])
        #expect(shortfall.missing == ["authority-2", "authority-3"])
    }

    @Test("a signer nobody knows does not count and is named")
    func unknownSigner() throws {
        let document = try sample.document(signers: [0, 1])
        let stranger = SampleNetwork.key("stranger", 0)
        let found = error(try document.adding(document.signature(by: 9, with: stranger)))
        guard case .signatures(let shortfall) = found else {
            Issue.record("believed a stranger")
            return
        }
        #expect(shortfall.unknown == [9])
        #expect(found?.description.hasSuffix("unknown signers: 9") == true)
    }

    @Test("a signature by another key under an authority's index is named as wrong")
    func wrongKey() throws {
        let document = try sample.document(signers: [0, 1])
        let stranger = SampleNetwork.key("stranger", 0)
        let forged = try document.adding(document.signature(by: 2, with: stranger))
        guard case .signatures(let shortfall) = error(forged) else {
            Issue.record("believed a forged signature")
            return
        }
        #expect(shortfall.bad == ["authority-2"])
        #expect(shortfall.missing == ["authority-3"])
        #expect(error(try sample.sign(forged, [2])) == nil, "the real one beside it counts")
    }

    @Test("signatures over another document's bytes do not count")
    func otherBytes() throws {
        let other = try sample.document(relayCount: 8)
        let document = try ConsensusDocument(body: sample.document(relayCount: 9).body)
        let moved = try other.signatures.reduce(document) { try $0.adding($1) }
        guard case .signatures(let shortfall) = error(moved) else {
            Issue.record("believed signatures over other bytes")
            return
        }
        #expect(shortfall.valid.isEmpty)
        #expect(shortfall.bad == ["authority-0", "authority-1", "authority-2"])
    }

    @Test("a document for another network is refused")
    func otherNetwork() throws {
        let other = try TrustRoot(
            network: NetworkID(.zero),
            threshold: 3,
            authorities: sample.root.authorities
        )
        let document = try sample.document()
        #expect(
            throws: DirectoryError.wrongNetwork(
                expected: NetworkID(.zero),
                found: sample.network
            )
        ) {
            try other.verify(document, at: sample.start)
        }
        #expect(other.signers(of: document).isEmpty)
    }

    @Test(
        "a document holds from valid_after until just before valid_until",
        arguments: [(-1, false), (0, true), (29, true), (30, false)]
    )
    func times(offset: Int, isValid: Bool) throws {
        let document = try sample.document()
        let now = WallTime(seconds: UInt64(Int(sample.start.seconds) + offset))
        let found = error(document, at: now)
        #expect((found == nil) == isValid)
        if offset < 0 {
            #expect(found == .notYetValid(validAfter: sample.start, now: now))
        } else if !isValid {
            #expect(found == .expired(validUntil: sample.start + 30, now: now))
        }
    }

    @Test("the grace for fetching ends after a day whatever is asked for")
    func grace() throws {
        let document = try sample.document()
        let root = sample.root
        let end = sample.start + 30
        _ = try root.verify(document, at: end + 86_399, graceSeconds: 86_400)
        #expect(throws: DirectoryError.expired(validUntil: end, now: end + 86_400)) {
            try root.verify(document, at: end + 86_400, graceSeconds: .max)
        }
    }

    @Test("an older document than the last one seen is refused as rollback")
    func rollback() throws {
        let document = try sample.document()
        let lastSeen = TrustRoot.LastSeen(validAfter: sample.start + 1, digest: .zero)
        #expect(
            error(document, lastSeen: lastSeen)
                == .rollback(validAfter: sample.start, lastSeen: sample.start + 1)
        )
        let same = TrustRoot.LastSeen(validAfter: sample.start, digest: document.digest)
        #expect(error(document, lastSeen: same) == nil)
    }

    @Test("two documents for one interval are a conflict, and the proof names who signed both")
    func equivocation() throws {
        let first = try sample.document(relayCount: 9, signers: [0, 1, 2])
        let second = try sample.document(relayCount: 8, signers: [1, 2, 3])
        var known = KnownDirectory(root: sample.root)
        #expect(try known.accept(first, at: sample.start))
        #expect(
            throws: DirectoryError.conflict(
                validAfter: sample.start,
                known: first.digest,
                found: second.digest
            )
        ) {
            try known.accept(second, at: sample.start)
        }
        let proof = try #require(known.equivocation)
        #expect(proof.doubleSigners.map(\.name) == ["authority-1", "authority-2"])
        #expect(proof.description.hasSuffix("both signed by authority-1, authority-2"))
        #expect(known.view?.digest == first.digest)
    }

    @Test("there is no proof without two full sets of signatures over two documents of one time")
    func noEquivocation() throws {
        let first = try sample.document(relayCount: 9)
        let root = sample.root
        #expect(Equivocation(first, first, under: root) == nil)
        let weak = try sample.document(relayCount: 8, signers: [0, 1])
        #expect(Equivocation(first, weak, under: root) == nil)
        let later = try sample.document(relayCount: 8, at: sample.start + 10)
        #expect(Equivocation(first, later, under: root) == nil)
    }

    @Test("a document that is not believed leaves the one at hand in place")
    func kept() throws {
        var known = KnownDirectory(root: sample.root)
        let first = try sample.document()
        let isNew = try known.accept(first, at: sample.start)
        #expect(isNew)
        let isNewAgain = try known.accept(first, at: sample.start)
        #expect(!isNewAgain)
        let bad = try sample.document(at: sample.start + 10, signers: [0])
        #expect(throws: DirectoryError.self) { try known.accept(bad, at: sample.start + 10) }
        #expect(known.view?.digest == first.digest)
        let second = try sample.document(at: sample.start + 10)
        let isNewer = try known.accept(second, at: sample.start + 11)
        #expect(isNewer)
        #expect(throws: DirectoryError.self) { try known.accept(first, at: sample.start + 12) }
        var restarted = KnownDirectory(root: sample.root, lastSeen: known.remembered)
        #expect(
            throws: DirectoryError.rollback(
                validAfter: sample.start,
                lastSeen: sample.start + 10
            )
        ) {
            try restarted.accept(first, at: sample.start + 12)
        }
    }

    @Test(
        "a trust root two disjoint groups could satisfy is refused",
        arguments: [(0, 1), (1, 2), (2, 4), (5, 4), (-1, 3), (1, 0), (33, 65)]
    )
    func thresholds(threshold: Int, count: Int) {
        let authorities = (0..<count).map {
            TrustRoot.Authority(
                index: UInt8($0),
                key: SampleNetwork.key("authority", $0).publicKey,
                name: "\($0)"
            )
        }
        #expect(throws: DirectoryError.self) {
            try TrustRoot(
                network: sample.network,
                threshold: threshold,
                authorities: authorities
            )
        }
    }

    @Test("a trust root with one index or one key twice is refused")
    func twice() {
        let first = sample.root.authorities[0]
        let sameIndex = TrustRoot.Authority(index: 0, key: .zero, name: "twin")
        #expect(throws: DirectoryError.trustRoot(.sameIndex(0))) {
            try TrustRoot(
                network: sample.network,
                threshold: 2,
                authorities: [first, sameIndex]
            )
        }
        let sameKey = TrustRoot.Authority(index: 1, key: first.key, name: "twin")
        #expect(throws: DirectoryError.trustRoot(.sameKey(first.key))) {
            try TrustRoot(network: sample.network, threshold: 2, authorities: [first, sameKey])
        }
    }

    @Test("one authority alone is a network of its own")
    func single() throws {
        let alone = try SampleNetwork(authorityCount: 1, threshold: 1)
        let document = try alone.document(signers: [0])
        #expect(try alone.root.verify(document, at: alone.start).relays.count == 9)
    }
}
