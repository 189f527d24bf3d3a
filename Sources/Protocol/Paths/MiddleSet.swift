public import Base
public import CryptoPrimitives
public import Directory
public import Wire

/// The few middles a client keeps for days (§E.5).
///
/// Whoever wants to stand next to a client's guard has to wait for the set to change, not for
/// circuits. Failures do not change it; age and absence from the consensus do.
public struct MiddleSet: Sendable {
    /// One middle of the set.
    public struct Member: Hashable, Sendable {
        /// The relay.
        public let id: NodeID
        /// When it leaves the set.
        public fileprivate(set) var expires: WallTime
    }

    /// The middles in the order they came; at most 32.
    public private(set) var members: [Member] = []

    /// Starts without middles; ``update(to:at:using:)`` draws them.
    public init() {}

    /// Brings the set in line with `view`: drops middles whose time is over, draws new ones.
    public mutating func update(
        to view: NetworkView,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        let weights = RelayWeights(view.relays)
        update(to: view, weights: weights, at: date, using: &generator) { _ in true }
    }

    /// The same with weights at hand; drops, and draws none, that `mayUse`, given its index, refuses.

    mutating func update(
        to view: NetworkView,
        weights: RelayWeights,
        at date: WallTime,
        using generator: inout RandomGenerator,
        where mayUse: (Int) -> Bool
    ) {
        let longest = date + UInt64(view.parameters.middleMaximumSeconds)
        for index in members.indices {
            // A clock that was ahead once must not keep a middle for ever.
            members[index].expires = min(members[index].expires, longest)
        }
        members.removeAll { member in
            member.expires <= date || !(view.index(of: member.id).map(mayUse) ?? false)
        }
        let relays = view.relays
        while members.count < view.parameters.middleSetCount,
            let chosen = weights.choose(
                for: .middle,
                using: &generator,
                where: { mayUse($0) && !contains(relays[$0].id) }
            )
        {
            add(relays[chosen].id, view.parameters, at: date, using: &generator)
        }
    }

    /// Whether `id` is in the set.
    public func contains(_ id: NodeID) -> Bool {
        members.contains { $0.id == id }
    }

    /// Adds a middle because the rules let none of the set stand between a guard and an exit.
    ///
    /// - Returns: whether there was room; the set grows to twice its size at most.
    mutating func widen(
        by id: NodeID,
        _ parameters: NetworkParameters,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) -> Bool {
        guard members.count < 2 * parameters.middleSetCount else { return false }
        add(id, parameters, at: date, using: &generator)
        return true
    }

    /// Lives for the longer of two even draws.
    private mutating func add(
        _ id: NodeID,
        _ parameters: NetworkParameters,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        let shortest = UInt64(parameters.middleMinimumSeconds)
        let longest = UInt64(parameters.middleMaximumSeconds)
        let width = max(longest, shortest) - shortest + 1
        let life = shortest + max(generator.next(below: width), generator.next(below: width))
        members.append(Member(id: id, expires: date + life))
    }
}

extension MiddleSet {
    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: ``WireError`` for anything else.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.version else {
            throw .unknown(field: "middle set version", value: UInt64(version))
        }
        let count = try reader.read(UInt8.self)
        guard count <= Self.capacity else {
            throw .tooLarge(field: "middle set", value: UInt64(count), limit: UInt64(Self.capacity))
        }
        for _ in 0..<count {
            let id = NodeID(try reader.readBytes32())
            guard !contains(id) else { throw .invalid(field: "middle") }
            members.append(Member(id: id, expires: WallTime(seconds: try reader.read())))
        }
        try reader.finish()
    }

    /// The set as bytes to store: `version u8 | count u8 | count x (relay_id 32 | expires u64)`.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 2 + members.count * 40)
        writer.write(Self.version)
        writer.write(UInt8(truncatingIfNeeded: members.count))
        for member in members {
            writer.write(member.id.rawValue)
            writer.write(member.expires.seconds)
        }
        return writer.bytes
    }

    private static let version: UInt8 = 1
    private static let capacity: UInt8 = 32
}
