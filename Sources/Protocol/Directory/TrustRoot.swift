public import Base
public import Wire

/// Whom a node believes: the authorities of one network and how many of them must agree.
public struct TrustRoot: Hashable, Sendable {
    /// The network.
    public let network: NetworkID
    /// Authorities that must sign: more than half of them.
    public let threshold: Int
    /// The authorities, ascending by index.
    public let authorities: [Authority]

    /// One authority.
    public struct Authority: Hashable, Sendable {
        /// Its index under documents.
        public let index: UInt8
        /// Its Ed25519 signing key.
        public let key: Bytes32
        /// Its name for people.
        public let name: String

        /// Takes the three over.
        public init(index: UInt8, key: Bytes32, name: String) {
            self.index = index
            self.key = key
            self.name = name
        }
    }

    /// The document seen last, which nothing older may replace.
    public struct LastSeen: Hashable, Sendable {
        /// When it began to hold.
        public let validAfter: WallTime
        /// Its digest.
        public let digest: Bytes32

        /// Takes both over.
        public init(validAfter: WallTime, digest: Bytes32) {
            self.validAfter = validAfter
            self.digest = digest
        }
    }

    /// Takes 1 to 64 authorities in any order.
    ///
    /// - Throws: ``DirectoryError/trustRoot(_:)`` for an index or key that comes twice, or a
    ///   threshold two disjoint groups could reach.
    public init(
        network: NetworkID,
        threshold: Int,
        authorities: [Authority]
    ) throws(DirectoryError) {
        guard (1...ConsensusFrame.maximumSignatureCount).contains(authorities.count) else {
            throw .trustRoot(.authorityCount(authorities.count))
        }
        guard threshold <= authorities.count, threshold > authorities.count / 2 else {
            throw .trustRoot(.threshold(threshold, authorityCount: authorities.count))
        }
        let sorted = authorities.sorted { $0.index < $1.index }
        for (position, authority) in sorted.enumerated() {
            for other in sorted[..<position] {
                guard other.index != authority.index else {
                    throw .trustRoot(.sameIndex(authority.index))
                }
                guard other.key != authority.key else { throw .trustRoot(.sameKey(authority.key)) }
            }
        }
        self.network = network
        self.threshold = threshold
        self.authorities = sorted
    }

    /// Believes `document` or says why not, and gives the network as it shows it.
    ///
    /// - Parameters:
    ///   - graceSeconds: how long after its end a document still serves, 0 for circuits and at
    ///     most 86,400 to fetch a newer one by.
    ///   - lastSeen: the newest document this node has ever believed.
    /// - Throws: ``DirectoryError``; signatures are checked before times, so a document that is
    ///   called expired or rolled back is a real one.
    public func verify(
        _ document: ConsensusDocument,
        at now: WallTime,
        graceSeconds: UInt64 = 0,
        lastSeen: LastSeen? = nil
    ) throws(DirectoryError) -> NetworkView {
        let consensus = document.consensus
        guard consensus.network == network else {
            throw .wrongNetwork(expected: network, found: consensus.network)
        }
        let count = count(document)
        guard count.validIndexes.count >= threshold else { throw .signatures(shortfall(count)) }
        guard now >= consensus.validAfter else {
            throw .notYetValid(validAfter: consensus.validAfter, now: now)
        }
        guard now < consensus.validUntil + min(graceSeconds, Self.maximumGraceSeconds) else {
            throw .expired(validUntil: consensus.validUntil, now: now)
        }
        if let lastSeen {
            guard consensus.validAfter >= lastSeen.validAfter else {
                throw .rollback(validAfter: consensus.validAfter, lastSeen: lastSeen.validAfter)
            }
            guard
                consensus.validAfter > lastSeen.validAfter || document.digest == lastSeen.digest
            else {
                throw .conflict(
                    validAfter: consensus.validAfter,
                    known: lastSeen.digest,
                    found: document.digest
                )
            }
        }
        return NetworkView(believing: document)
    }

    /// Authorities that may be bad without harm: a third of them, rounded down, without the last.
    public var toleratedFaultCount: Int {
        (authorities.count - 1) / 3
    }

    /// The authority with `index`; `nil` when there is none.
    public func authority(_ index: UInt8) -> Authority? {
        authorities.first { $0.index == index }
    }

    /// The authorities whose signature under `document` is good, ascending by index.
    ///
    /// An authority counts once however often it signed.
    public func signers(of document: ConsensusDocument) -> [Authority] {
        guard document.consensus.network == network else { return [] }
        let valid = count(document).validIndexes
        return authorities.filter { valid.contains($0.index) }
    }

    private struct SignatureCount {
        var validIndexes: Set<UInt8> = []
        var badIndexes: Set<UInt8> = []
        var unknownIndexes: Set<UInt8> = []
    }

    private func count(_ document: ConsensusDocument) -> SignatureCount {
        var count = SignatureCount()
        for signature in document.signatures {
            guard let authority = authorities.first(where: { $0.index == signature.index }) else {
                count.unknownIndexes.insert(signature.index)
                continue
            }
            if document.isValid(signature, by: authority.key) {
                count.validIndexes.insert(signature.index)
            } else {
                count.badIndexes.insert(signature.index)
            }
        }
        count.badIndexes.subtract(count.validIndexes)
        return count
    }

    private func shortfall(_ count: SignatureCount) -> SignatureShortfall {
        let names = { (isWanted: (UInt8) -> Bool) in
            authorities.filter { isWanted($0.index) }.map(\.name)
        }
        return SignatureShortfall(
            threshold: threshold,
            valid: names(count.validIndexes.contains),
            missing: names {
                !count.validIndexes.contains($0) && !count.badIndexes.contains($0)
            },
            bad: names(count.badIndexes.contains),
            unknown: count.unknownIndexes.sorted()
        )
    }

    /// How long after its end a document may still serve to fetch a newer one by.
    public static let maximumGraceSeconds: UInt64 = 86_400
}
