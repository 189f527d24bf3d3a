public import Base
import Tickets
public import Wire

/// The mints an authority knows of: their newest announcements.
///
/// A mint is who the trust root says it is. What it once showed as a key of an epoch stays one: an
/// announcement with another is refused, so that no mint has a key for one client alone.
/// Bound: one announcement a mint, at most ten mints. Spec: §A.9.
public struct MintRegister: Sendable {
    /// Why an announcement is not taken.
    public enum Refusal: Error, Hashable, Sendable {
        /// It cannot be read.
        case malformed(WireError)
        /// The network has no such mint, or this is not its key.
        case unknownMint(UInt8)
        /// It is for another network.
        case otherNetwork
        /// The mint did not sign it.
        case unsigned
        /// It is older than what is known, or of a time to come.
        case outOfTime
        /// A key of this epoch was another one before.
        case changedKey(epoch: UInt32)
    }

    /// Seconds an announcement may be ahead of this authority's clock.
    private static let aheadLimit: UInt64 = 120
    private let network: NetworkID
    private let keys: [Bytes32]
    private var announcements: [UInt8: MintAnnouncement] = [:]
    // By mint and epoch, of the last epochs shown.
    private var shown: [UInt8: [UInt32: [[UInt8]]]] = [:]
    private static let shownLimit = 16

    /// Makes a register of the mints with these keys, by index.
    public init(network: NetworkID, keys: [Bytes32]) {
        self.network = network
        self.keys = keys
    }

    /// Takes an announcement; gives whether it is newer than what was known.
    ///
    /// - Throws: ``Refusal``.
    public mutating func receive(_ bytes: [UInt8], at wall: WallTime) throws(Refusal) -> Bool {
        let announcement: MintAnnouncement
        do throws(WireError) {
            announcement = try MintAnnouncement(parsing: bytes)
        } catch {
            throw .malformed(error)
        }
        return try receive(announcement, at: wall)
    }

    /// Takes an announcement; gives whether it is newer than what was known.
    ///
    /// - Throws: ``Refusal``.
    public mutating func receive(
        _ announcement: MintAnnouncement,
        at wall: WallTime
    ) throws(Refusal) -> Bool {
        let index = announcement.index
        guard Int(index) < keys.count, keys[Int(index)] == announcement.key else {
            throw .unknownMint(index)
        }
        guard announcement.network == network else { throw .otherNetwork }
        if announcements[index] == announcement { return false }
        guard announcement.isSigned else { throw .unsigned }
        let newest = announcements[index]?.published ?? WallTime(seconds: 0)
        guard announcement.published > newest,
            announcement.published.seconds <= wall.seconds + Self.aheadLimit
        else { throw .outOfTime }
        var known = shown[index] ?? [:]
        for epoch in announcement.epochs {
            guard known[epoch.epoch] ?? epoch.keys == epoch.keys else {
                throw .changedKey(epoch: epoch.epoch)
            }
            known[epoch.epoch] = epoch.keys
        }
        for old in known.keys.sorted().dropLast(Self.shownLimit) { known[old] = nil }
        shown[index] = known
        announcements[index] = announcement
        return true
    }

    /// What this authority votes for.
    public var section: MintSection {
        MintSection(Array(announcements.values))
    }

    /// Takes over what was on disk; what is not believed any more is left out.
    public mutating func restore(_ section: MintSection, at wall: WallTime) {
        for announcement in section.announcements {
            do throws(Refusal) {
                _ = try receive(announcement, at: wall)
            } catch {
                continue
            }
        }
    }
}

extension MintRegister.Refusal: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .malformed(let error): "it cannot be read: \(error)"
        case .unknownMint(let index): "the network has no mint \(index) with this key"
        case .otherNetwork: "it is for another network"
        case .unsigned: "the mint's signature does not hold"
        case .outOfTime: "it is older than what is known, or of a time to come"
        case .changedKey(let epoch): "it shows another key of epoch \(epoch) than before"
        }
    }
}
