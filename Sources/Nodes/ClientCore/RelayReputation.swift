public import Base
public import Wire

/// What this client saw of relays: whether they gave what they were paid for.
///
/// The mean of a Beta distribution for each relay, of good and bad ticks that count half after
/// seven days. Kept on this machine, told to nobody. Spec: §A.7. Bound: ``limit`` relays; the one
/// heard of longest ago makes room.
public struct RelayReputation: Sendable {
    /// Relays kept.
    public static let limit = 4_096
    /// The table of records on disk.
    public static let table: UInt8 = 30
    private static let halfLifeSeconds: UInt64 = 7 * 86_400
    /// Bad ticks, in thousandths, before a relay is left out at all.
    private static let leastBad: UInt64 = 2_000

    private struct Entry: Hashable {
        // In thousandths of a tick.
        var good: UInt64 = 0
        var bad: UInt64 = 0
        var seconds: UInt64

        func aged(to now: UInt64) -> Entry {
            var entry = self
            entry.good = Self.aged(good, by: now > seconds ? now - seconds : 0)
            entry.bad = Self.aged(bad, by: now > seconds ? now - seconds : 0)
            entry.seconds = max(now, seconds)
            return entry
        }

        /// Half after each half-life, and evenly less between.
        private static func aged(_ value: UInt64, by seconds: UInt64) -> UInt64 {
            let halves = seconds / RelayReputation.halfLifeSeconds
            guard halves < 64 else { return 0 }
            let rest = seconds % RelayReputation.halfLifeSeconds
            let whole = value >> halves
            return whole - whole / 2 * rest / RelayReputation.halfLifeSeconds
        }
    }

    private var entries: [NodeID: Entry] = [:]
    private var changed: Set<NodeID> = []
    private var removed: Set<NodeID> = []

    /// Knows nothing, or what these records say.
    ///
    /// - Throws: ``WireError`` for a record that cannot be read.
    public init(_ records: [StoredRecord] = []) throws(WireError) {
        for record in records where record.table == Self.table {
            guard let name = Bytes32(record.key) else { throw .invalid(field: "relay") }
            var reader = ByteReader(record.value)
            let (good, bad) = (try reader.read(UInt64.self), try reader.read(UInt64.self))
            let seconds = try reader.read(UInt64.self)
            try reader.finish()
            guard good < 1 << 50, bad < 1 << 50 else { throw .invalid(field: "relay") }
            entries[NodeID(name)] = Entry(good: good, bad: bad, seconds: seconds)
        }
    }

    /// Knows nothing.
    public init() {}

    /// Notes a tick in which the relay gave what it was paid for, or did not.
    public mutating func note(_ relay: NodeID, isGood: Bool, at wall: WallTime) {
        if entries[relay] == nil, entries.count >= Self.limit {
            let oldest = entries.min { ($0.value.seconds, $0.key) < ($1.value.seconds, $1.key) }
            if let oldest {
                entries[oldest.key] = nil
                changed.remove(oldest.key)
                removed.insert(oldest.key)
            }
        }
        var entry = (entries[relay] ?? Entry(seconds: wall.seconds)).aged(to: wall.seconds)
        if isGood { entry.good += 1_000 } else { entry.bad += 1_000 }
        entries[relay] = entry
        changed.insert(relay)
        removed.remove(relay)
    }

    /// Notes what an audit found: that it served, as much as a tick does; or that it did not, which
    /// outweighs whatever it did before.
    public mutating func noteAudit(_ relay: NodeID, isGood: Bool, at wall: WallTime) {
        note(relay, isGood: isGood, at: wall)
        guard !isGood, let entry = entries[relay] else { return }
        entries[relay]?.bad = min(entry.bad + entry.good * 2 + Self.leastBad, 1 << 49)
    }

    /// How good the relay is, in thousandths: 500 where nothing is known.
    public func score(of relay: NodeID, at wall: WallTime) -> UInt64 {
        guard let entry = entries[relay]?.aged(to: wall.seconds) else { return 500 }
        return (entry.good + 1_000) * 1_000 / (entry.good + entry.bad + 2_000)
    }

    /// Relays that mostly did not give what they were paid for.
    public func bad(at wall: WallTime) -> Set<NodeID> {
        Set(
            entries.filter { relay, entry in
                entry.aged(to: wall.seconds).bad >= Self.leastBad
                    && score(of: relay, at: wall) < 400
            }.keys
        )
    }

    /// What changed since the last call, for the disk.
    public mutating func takeWrites() -> [RecordWrite] {
        defer {
            changed = []
            removed = []
        }
        let gone = removed.sorted().map {
            RecordWrite(table: Self.table, key: $0.rawValue.bytes, value: nil)
        }
        return gone
            + changed.sorted().compactMap { relay in
                guard let entry = entries[relay] else { return nil }
                var writer = ByteWriter(capacity: 24)
                writer.write(entry.good)
                writer.write(entry.bad)
                writer.write(entry.seconds)
                return RecordWrite(
                    table: Self.table,
                    key: relay.rawValue.bytes,
                    value: writer.bytes
                )
            }
    }
}
