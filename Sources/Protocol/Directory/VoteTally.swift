public import Base
import CryptoPrimitives
public import Wire

/// Makes the body of a consensus from votes: the same bytes for the same votes, in any order.
///
/// Spec: §E.1. Every number is the low median of what is voted, so that a minority cannot move it
/// beyond what an honest authority says.
public struct VoteTally: Sendable {
    private let root: TrustRoot
    private let votes: [DirectoryVote]

    /// Why votes make no consensus.
    public enum Failure: Error, Hashable, Sendable {
        /// Fewer than the threshold voted.
        case tooFewVotes(Int, threshold: Int)
        /// No state of the log has enough votes.
        case noCommonLog
        /// Descriptors that are voted for are not at hand.
        case missing([Bytes32])
        /// What comes out breaks a bound.
        case malformed(WireError)
    }

    /// Takes one vote of each author.
    ///
    /// - Precondition: no author comes twice.
    public init(_ votes: [DirectoryVote], root: TrustRoot) {
        precondition(Set(votes.map(\.author)).count == votes.count, "an author votes once")
        self.root = root
        self.votes = votes.sorted { $0.author < $1.author }
    }

    /// A relay that is to be listed, by what the votes say of it.
    private struct Choice {
        var descriptor: Bytes32
        var flags: RelayFlags
        var country: CountryCode?
        var autonomousSystem: UInt32
        var measuredKilobits: UInt32
    }

    /// The body of the consensus that begins to hold at `validAfter`.
    ///
    /// - Parameter descriptor: the signed descriptor with this digest, verified; `nil` for none.
    /// - Throws: ``Failure``.
    public func body(
        validAfter: WallTime,
        descriptor: (Bytes32) -> SignedDescriptor?
    ) throws(Failure) -> [UInt8] {
        guard votes.count >= root.threshold else {
            throw .tooFewVotes(votes.count, threshold: root.threshold)
        }
        let log = try commonLog()
        let parameters = medianParameters()
        var missing: [Bytes32] = []
        var owners: [SocketAddress: NodeID] = [:]
        var relays: [RelayRecord] = []
        for choice in choices() {
            guard let signed = descriptor(choice.descriptor) else {
                missing.append(choice.descriptor)
                continue
            }
            let addresses = signed.descriptor.addresses.all
            // Records come by identity: of relays that claim one address the first is listed.
            guard addresses.allSatisfy({ owners[$0] == nil }),
                signed.descriptor.circuitKeyExpiryMinute > validAfter.minute
            else { continue }
            for address in addresses { owners[address] = signed.descriptor.id }
            relays.append(Self.record(of: signed.descriptor, choice))
        }
        guard missing.isEmpty else { throw .missing(missing) }
        do {
            return try Consensus(
                network: root.network,
                validAfter: validAfter,
                freshUntil: validAfter + UInt64(parameters.freshSeconds),
                validUntil: validAfter + UInt64(parameters.validSeconds),
                parameters: parameters,
                previousDigest: log.lastDigest,
                logSize: log.size,
                logRoot: log.root,
                relays: relays,
                mints: mints()
            ).encoded()
        } catch { throw .malformed(error) }
    }

    // MARK: Log and parameters

    /// The longest log more authorities vote for than may be bad.
    ///
    /// - Throws: ``Failure/noCommonLog``.
    public func commonLog() throws(Failure) -> DirectoryLog {
        var counts: [DirectoryLog: Int] = [:]
        for vote in votes {
            guard let log = try? DirectoryLog(parsing: vote.log) else { continue }
            counts[log, default: 0] += 1
        }
        let common = counts.filter { $0.value > root.toleratedFaultCount }.keys
        guard
            let longest = common.max(by: {
                ($0.size, $0.lastDigest) < ($1.size, $1.lastDigest)
            })
        else { throw .noCommonLog }
        return longest
    }

    private func medianParameters() -> NetworkParameters {
        var result = NetworkParameters()
        for field in NetworkParameters.fields {
            let voters = votes.filter { !$0.parameters.absent.contains(field.id) }
            // As authorities that do not know it count it, where all vote alike.
            guard !field.isLater || voters.count > root.authorities.count / 2 else {
                result.absent.append(field.id)
                continue
            }
            let values = voters.compactMap { $0.parameters[field.name.description] }
            // Each is in range where it was read, and so is the median.
            try? result.set(field.name.description, to: Self.lowMedian(values))
        }
        var counts: [NetworkParameters.Unknown: Int] = [:]
        for vote in votes {
            for value in vote.parameters.unknown { counts[value, default: 0] += 1 }
        }
        result.unknown = counts.filter { $0.value > root.authorities.count / 2 }.keys
            .sorted { $0.id < $1.id }
        return result
    }

    /// Of each mint the newest announcement more authorities name than may be bad: an honest one
    /// has verified it.
    private func mints() -> MintSection {
        var chosen: [UInt8: (announcement: MintAnnouncement, digest: Bytes32)] = [:]
        var counts: [MintAnnouncement: Int] = [:]
        for vote in votes {
            for announcement in vote.mints.announcements { counts[announcement, default: 0] += 1 }
        }
        for (announcement, count) in counts where count > root.toleratedFaultCount {
            let digest = SHA256.digest(announcement.signature)
            if let known = chosen[announcement.index],
                (known.announcement.published, known.digest) > (announcement.published, digest)
            {
                continue
            }
            chosen[announcement.index] = (announcement, digest)
        }
        return MintSection(chosen.values.map(\.announcement))
    }

    /// The value in the middle, of an even count the lower of both.
    ///
    /// - Precondition: there is one.
    public static func lowMedian<Value: Comparable>(_ values: [Value]) -> Value {
        precondition(!values.isEmpty, "somebody voted")
        return values.sorted()[(values.count - 1) / 2]
    }

    // MARK: Relays

    /// The relays more than half of all authorities list, ascending by identity.
    private func choices() -> [Choice] {
        var choices: [Choice] = []
        var positions = [Int](repeating: 0, count: votes.count)
        while true {
            var next: NodeID?
            for (index, vote) in votes.enumerated() where positions[index] < vote.entries.count {
                let id = vote.entries[positions[index]].id
                next = next.map { min($0, id) } ?? id
            }
            guard let next else { return choices }
            var entries: [DirectoryVote.Entry] = []
            for (index, vote) in votes.enumerated() where positions[index] < vote.entries.count {
                guard vote.entries[positions[index]].id == next else { continue }
                entries.append(vote.entries[positions[index]])
                positions[index] += 1
            }
            guard entries.count > root.authorities.count / 2, let choice = choice(entries) else {
                continue
            }
            choices.append(choice)
        }
    }

    private func choice(_ entries: [DirectoryVote.Entry]) -> Choice? {
        // Named by more than may be bad, so that an honest authority has it: the newest of those.
        let candidates = entries.filter { entry in
            entries.count { $0.descriptor == entry.descriptor } > root.toleratedFaultCount
        }
        guard
            let chosen = candidates.max(by: {
                ($0.publishedMinute, $0.descriptor) < ($1.publishedMinute, $1.descriptor)
            })
        else { return nil }
        var flags: RelayFlags = []
        for bit in 0..<UInt16.bitWidth {
            let flag = RelayFlags(rawValue: 1 << UInt16(bit))
            let count = entries.count { $0.flags.contains(flag) }
            if count * 2 > entries.count { flags.insert(flag) }
        }
        let measured = entries.map(\.measuredKilobits).filter { $0 > 0 }
        return Choice(
            descriptor: chosen.descriptor,
            flags: flags,
            country: Self.majority(entries.map(\.country)) ?? nil,
            autonomousSystem: Self.majority(entries.map(\.autonomousSystem)) ?? 0,
            measuredKilobits: measured.count * 2 > entries.count ? Self.lowMedian(measured) : 0
        )
    }

    private static func majority<Value: Hashable>(_ values: [Value]) -> Value? {
        for value in values where values.count(where: { $0 == value }) * 2 > values.count {
            return value
        }
        return nil
    }

    private static func record(of descriptor: Descriptor, _ choice: Choice) -> RelayRecord {
        var record = RelayRecord(listing: descriptor)
        record.flags = choice.flags
        if !choice.flags.contains(.exit) || descriptor.policy == .none {
            record.flags.remove(.exit)
            record.flags.remove(.exitsIPv6)
            record.policy = .none
        }
        record.country = choice.country
        record.autonomousSystem = choice.autonomousSystem
        let claimed = max(1, descriptor.bandwidthKilobits)
        record.weight =
            choice.measuredKilobits > 0
            ? choice.measuredKilobits : min(claimed, unmeasuredLimitKilobits)
        return record
    }

    /// The most a relay counts for before a majority has measured it, in kilobits a second.
    public static let unmeasuredLimitKilobits: UInt32 = 10_000
}
