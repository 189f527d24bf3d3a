public import Base

/// What a node keeps of the directory: the newest document it believed, and proof of any lie.
///
/// A document that is not believed changes nothing: the one at hand stays until it expires.
public struct KnownDirectory: Sendable {
    /// Whom it believes.
    public let root: TrustRoot
    /// The network by the newest believed document; `nil` before the first one.
    ///
    /// Where there is another document for its interval, only what both say.
    public private(set) var view: NetworkView?
    /// Two documents for one interval, the first such pair seen.
    public private(set) var equivocation: Equivocation?
    private var document: ConsensusDocument?
    private var lastSeen: TrustRoot.LastSeen?

    /// Starts with what the node remembers from before.
    public init(root: TrustRoot, lastSeen: TrustRoot.LastSeen? = nil) {
        self.root = root
        self.lastSeen = lastSeen
    }

    /// What the node must remember for the next start.
    public var remembered: TrustRoot.LastSeen? {
        lastSeen
    }

    /// The document behind ``view``.
    public var believed: ConsensusDocument? {
        document
    }

    /// Takes over a document.
    ///
    /// - Returns: whether it is newer than what was known.
    /// - Throws: ``DirectoryError``; a conflict also leaves its proof in ``equivocation`` where the
    ///   document it conflicts with is still at hand.
    public mutating func accept(
        _ candidate: ConsensusDocument,
        at now: WallTime,
        graceSeconds: UInt64 = 0
    ) throws(DirectoryError) -> Bool {
        let accepted: NetworkView
        do {
            accepted = try root.verify(
                candidate,
                at: now,
                graceSeconds: graceSeconds,
                lastSeen: lastSeen
            )
        } catch {
            if case .conflict = error, let document,
                let proof = Equivocation(document, candidate, under: root)
            {
                note(proof)
            }
            throw error
        }
        let isNew = view?.digest != accepted.digest
        if isNew { view = accepted }
        document = candidate
        lastSeen = TrustRoot.LastSeen(validAfter: accepted.validAfter, digest: accepted.digest)
        return isNew
    }

    /// Takes over the proof of a lie; the first one is kept.
    ///
    /// As long as the document at hand is one of the two, only what both say is relied on.
    public mutating func note(_ proof: Equivocation) {
        equivocation = equivocation ?? proof
        guard let document, [proof.first.digest, proof.second.digest].contains(document.digest)
        else { return }
        view = NetworkView(believing: document, keeping: proof.common)
    }

    /// Compares what a relay says of its newest document with what this node has believed.
    ///
    /// - Returns: false where it names another document for the interval of the one at hand.
    public func agrees(validAfter: WallTime, digestPrefix: [UInt8]) -> Bool {
        guard let view, view.validAfter == validAfter else { return true }
        return view.shortDigest == digestPrefix
    }
}
