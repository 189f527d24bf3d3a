public import Base
public import Wire

/// Proof that authorities signed two documents for one interval; whoever holds it can check it.
public struct Equivocation: Hashable, Sendable {
    /// The interval both documents are for.
    public let validAfter: WallTime
    /// One document.
    public let first: ConsensusDocument
    /// The other one.
    public let second: ConsensusDocument
    /// The authorities whose good signatures stand under both, ascending by index.
    public let doubleSigners: [TrustRoot.Authority]

    /// Makes the proof; `nil` unless both documents are of this network and interval, differ, and
    /// carry enough good signatures each.
    public init?(_ first: ConsensusDocument, _ second: ConsensusDocument, under root: TrustRoot) {
        guard first.consensus.validAfter == second.consensus.validAfter,
            first.digest != second.digest
        else { return nil }
        let firstSigners = root.signers(of: first)
        let secondSigners = root.signers(of: second)
        guard firstSigners.count >= root.threshold, secondSigners.count >= root.threshold else {
            return nil
        }
        validAfter = first.consensus.validAfter
        self.first = first
        self.second = second
        doubleSigners = firstSigners.filter(secondSigners.contains)
    }
}

extension Equivocation {
    /// Reads a stored proof and checks it anew.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` for anything that is no proof under `root`.
    public init(parsing bytes: [UInt8], under root: TrustRoot) throws(DirectoryError) {
        var documents: [ConsensusDocument] = []
        do {
            var reader = ByteReader(bytes)
            for _ in 0..<2 {
                let count = Int(try reader.read(UInt32.self))
                documents.append(
                    try ConsensusDocument(parsing: try reader.read(byteCount: count))
                )
            }
            try reader.finish()
        } catch let error as WireError {
            throw .malformed(error)
        } catch let error as DirectoryError {
            throw error
        } catch {
            throw .malformed(.invalid(field: "proof"))
        }
        guard let proof = Self(documents[0], documents[1], under: root) else {
            throw .malformed(.invalid(field: "proof"))
        }
        self = proof
    }

    /// The proof as bytes anybody can check: both documents, each behind its length.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter()
        for document in [first, second] {
            let bytes = document.encoded()
            writer.write(UInt32(truncatingIfNeeded: bytes.count))
            writer.write(bytes)
        }
        return writer.bytes
    }

    /// The relays both documents list with the same words: what is left to rely on.
    public var common: Set<NodeID> {
        let others = Set(second.consensus.relays)
        return Set(first.consensus.relays.filter { others.contains($0) }.map(\.id))
    }
}

extension Equivocation: CustomStringConvertible {
    /// Who did it, for people.
    public var description: String {
        let names = doubleSigners.map(\.name).joined(separator: ", ")
        return "two documents for \(validAfter.seconds) (\(first.digest.hex) and"
            + " \(second.digest.hex)), both signed by \(names)"
    }
}
