public import Base
public import Wire

/// The documents a mirror hands out: the newest, the one before, and what led to the newest.
///
/// A chain of diffs takes the memory of what changed, not of 24 documents.
public struct DirectoryShelf: Sendable {
    /// The newest document.
    public private(set) var newest: ConsensusDocument?
    /// The newest document's bytes.
    public private(set) var newestBytes: [UInt8] = []
    /// Proof that authorities signed two documents for one interval, as bytes; `nil` for none.
    public private(set) var proof: [UInt8]?
    private var previous: (validAfter: WallTime, digest: Bytes32, bytes: [UInt8])?
    private var diffs: [(base: Bytes32, bytes: [UInt8])] = []

    /// Starts empty.
    public init() {}

    /// Puts a believed document on top; one that is not newer changes nothing.
    public mutating func add(_ document: ConsensusDocument) {
        if let newest {
            guard document.consensus.validAfter > newest.consensus.validAfter else {
                // The same document with more signatures under it serves better.
                guard document.digest == newest.digest,
                    document.signatures.count > newest.signatures.count
                else { return }
                self.newest = document
                newestBytes = document.encoded()
                return
            }
            let diff = ConsensusDiff(
                from: newest.consensus,
                newest.digest,
                to: document.consensus,
                document.digest,
                signatures: document.signatures
            )
            if let bytes = try? diff.encoded() {
                diffs.append((newest.digest, bytes))
            } else {
                diffs = []
            }
            if diffs.count > ConsensusDiffChain.maximumCount { diffs.removeFirst() }
            previous = (newest.consensus.validAfter, newest.digest, newestBytes)
        }
        newest = document
        newestBytes = document.encoded()
    }

    /// Takes a proof to hand out; the first one is kept.
    public mutating func add(_ proof: Equivocation) {
        if self.proof == nil { self.proof = proof.encoded() }
    }

    /// The bytes of the diffs from the document with the digest `base` to the newest one; `nil` when
    /// that document is unknown or too old, empty when it is the newest.
    public func diff(from base: Bytes32) -> [UInt8]? {
        segments(from: base).map { Array($0.joined()) }
    }

    private func segments(from base: Bytes32) -> [[UInt8]]? {
        if newest?.digest == base { return [] }
        guard let start = diffs.firstIndex(where: { $0.base == base }) else { return nil }
        return [[UInt8(diffs.count - start)]] + diffs[start...].map(\.bytes)
    }

    /// The part of the directory `ask` is about; takes no longer for a small part of much.
    public func part(_ ask: DirectoryAsk) -> DirectoryPart {
        let found: [[UInt8]]? =
            switch ask.kind {
            case .newest: newest == nil ? nil : [newestBytes]
            case .diff: segments(from: ask.digest)
            case .proof: proof.map { [$0] }
            case .document: document(digestPrefix: Array(ask.digest.bytes.prefix(16))).map { [$0] }
            }
        let tag = newest?.digest.bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) } ?? 0
        guard let found else {
            return DirectoryPart(status: .none, tag: tag, total: 0, offset: 0, bytes: [])
        }
        let total = found.reduce(0) { $0 + $1.count }
        var bytes: [UInt8] = []
        var start = 0
        for segment in found {
            let from = max(Int(ask.offset) + bytes.count - start, 0)
            let room = DirectoryPart.maximumByteCount - bytes.count
            if from < segment.count, room > 0 {
                bytes += segment[from..<min(segment.count, from + room)]
            }
            start += segment.count
        }
        return DirectoryPart(
            status: .bytes,
            tag: tag,
            total: UInt32(clamping: total),
            offset: ask.offset,
            bytes: bytes
        )
    }

    /// The bytes of the document whose digest begins with `prefix`, the newest or the one before.
    public func document(digestPrefix prefix: [UInt8]) -> [UInt8]? {
        guard !prefix.isEmpty else { return nil }
        if let newest, newest.digest.bytes.starts(with: prefix) { return newestBytes }
        guard let previous, previous.digest.bytes.starts(with: prefix) else { return nil }
        return previous.bytes
    }
}

extension ConsensusDocument {
    /// The document that a chain of diffs makes of this one, to be believed like any other.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` where the chain does not begin here or its result
    ///   is not what it says.
    public func applying(_ chain: ConsensusDiffChain) throws(DirectoryError) -> Self {
        guard let first = chain.diffs.first, let last = chain.diffs.last, first.base == digest
        else { throw .malformed(.invalid(field: "diff base")) }
        var consensus = consensus
        do {
            for diff in chain.diffs { consensus = try diff.applied(to: consensus) }
            var document = try Self(body: consensus.encoded())
            guard document.digest == last.digest else {
                throw WireError.invalid(field: "diff digest")
            }
            for signature in last.signatures { document = try document.adding(signature) }
            return document
        } catch let error as WireError {
            throw .malformed(error)
        } catch let error as DirectoryError {
            throw error
        } catch {
            throw .malformed(.invalid(field: "diff"))
        }
    }
}
