public import Base
import Wire

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

extension Equivocation: CustomStringConvertible {
    /// Who did it, for people.
    public var description: String {
        let names = doubleSigners.map(\.name).joined(separator: ", ")
        return "two documents for \(validAfter.seconds) (\(first.digest.hex) and"
            + " \(second.digest.hex)), both signed by \(names)"
    }
}
