import Base

/// Addresses on whose way the kernel does not cut datagrams, such as behind a small MTU.
///
/// Remembers 16 for a minute each, then tries again, which costs one call. When it is full the
/// entry that would lapse first makes room.
struct SegmentationRefusals {
    private struct Entry {
        let address: IPAddress
        let expiry: Instant
    }

    private static let capacity = 16
    private static let lifetime = TimeSpan.seconds(60)
    private var entries: [Entry] = []

    init() {
        entries.reserveCapacity(Self.capacity)
    }

    func contains(_ address: IPAddress, now: Instant) -> Bool {
        entries.contains { $0.address == address && $0.expiry > now }
    }

    mutating func insert(_ address: IPAddress, now: Instant) {
        let entry = Entry(address: address, expiry: now + Self.lifetime)
        if let index = entries.firstIndex(where: { $0.address == address }) {
            entries[index] = entry
        } else if entries.count < Self.capacity {
            entries.append(entry)
        } else if let index = entries.indices.min(by: { entries[$0].expiry < entries[$1].expiry }) {
            entries[index] = entry
        }
    }
}
