public import CryptoPrimitives
public import Directory
public import Wire

/// The exchange of votes of one voting, after Dolev and Strong.
///
/// A vote counts if it comes in round r with the signatures of r authorities, its author's among
/// them, and is then passed on with one's own. Whatever f bad authorities do, all honest ones end
/// with the same votes: one that only some have got was signed by f+1, so an honest one has passed
/// it on in time. An author of two votes has none.
///
/// Spec: §E.1.
public struct VoteExchange: Sendable {
    /// What became of a vote that came.
    public enum Answer: Hashable, Sendable {
        /// It counts, unless its author said something else too; pass it on to those.
        case accepted(SignedVote, to: [UInt8])
        /// It is known, or its author has two already.
        case known
        /// It does not count.
        case refused(Refusal)
    }

    /// Why a vote does not count.
    public enum Refusal: Hashable, Sendable {
        /// For another document than the one that is voted on.
        case otherVoting
        /// Outside of the rounds.
        case outOfTime
        /// Too few good signatures for the round.
        case signatures(Int, neededCount: Int)
    }

    private static let votesPerAuthor = 2

    private let root: TrustRoot
    private let voting: Voting
    private let own: UInt8
    private var accepted: [UInt8: [SignedVote]] = [:]

    /// Begins the exchange of `voting` at the authority with index `own`.
    public init(_ voting: Voting, root: TrustRoot, own: UInt8) {
        self.root = root
        self.voting = voting
        self.own = own
    }

    /// Takes this authority's own vote; gives those to send it to.
    public mutating func propose(_ vote: SignedVote) -> [UInt8] {
        accepted[own] = [vote]
        return others(than: [own])
    }

    /// Takes a vote that came at `now`.
    public mutating func receive(
        _ vote: SignedVote,
        now: CivilTime,
        key: borrowing Ed25519.SigningKey
    ) -> Answer {
        guard vote.vote.validAfter == voting.validAfter else { return .refused(.otherVoting) }
        guard let round = voting.round(at: now) else { return .refused(.outOfTime) }
        let author = vote.vote.author
        let known = accepted[author] ?? []
        guard known.count < Self.votesPerAuthor,
            !known.contains(where: { $0.digest == vote.digest })
        else { return .known }
        let signers = vote.signers(under: root)
        guard signers.count >= round else {
            return .refused(.signatures(signers.count, neededCount: round))
        }
        accepted[author, default: []].append(vote)
        guard let endorsed = try? vote.endorsed(by: own, with: key) else {
            return .accepted(vote, to: [])
        }
        return .accepted(endorsed, to: others(than: signers.union([own])))
    }

    /// The votes that count, ascending by author: of each author who said one thing only.
    public var votes: [DirectoryVote] {
        accepted.sorted { $0.key < $1.key }.compactMap { _, votes in
            votes.count == 1 ? votes[0].vote : nil
        }
    }

    /// Authors of two votes, ascending.
    public var doubleVoters: [UInt8] {
        accepted.filter { $0.value.count > 1 }.keys.sorted()
    }

    private func others(than indexes: Set<UInt8>) -> [UInt8] {
        root.authorities.map(\.index).filter { !indexes.contains($0) }
    }
}
