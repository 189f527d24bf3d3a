import Base
public import CryptoPrimitives
public import Wire

/// Which CREATEs were seen: eight keyed bytes each, in one bucket a minute.
///
/// Spec: §B.3 (replay).
///
/// Bound: five buckets of `bucketLimit` marks. Where a bucket is full, replays of its minute cannot
/// be told, and early data is refused instead of circuits.
public struct CreateFilter: Sendable {
    private let key: [UInt8]
    private let bucketLimit: Int
    private var buckets: [(minute: UInt32, marks: Set<UInt64>)] = []

    /// Makes an empty filter.
    public init(bucketLimit: Int = 420_000, random: inout RandomGenerator) {
        key = random.bytes(32)
        self.bucketLimit = bucketLimit
    }

    /// The mark of a CREATE body.
    public func mark(of body: CreateBody) -> UInt64 {
        BLAKE2b.hash(body.publicKey.bytes, body.ciphertext, key: key, byteCount: 16)
            .prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Whether marks of `minute` and of all minutes still remembered have been kept.
    ///
    /// A CREATE that came in a full minute left no mark: its replay a minute later would seem new.
    public func canJudge(minute: UInt32) -> Bool {
        !buckets.contains { bucket in
            bucket.marks.count >= bucketLimit && !Self.isForgotten(bucket.minute, at: minute)
        }
    }

    /// Whether a CREATE with `mark` was entered before.
    public func contains(_ mark: UInt64) -> Bool {
        buckets.contains { $0.marks.contains(mark) }
    }

    /// Enters a CREATE that opened, in the minute it came; forgets what is over five minutes old.
    public mutating func insert(_ mark: UInt64, minute: UInt32) {
        buckets.removeAll { Self.isForgotten($0.minute, at: minute) }
        if let index = buckets.firstIndex(where: { $0.minute == minute }) {
            guard buckets[index].marks.count < bucketLimit else { return }
            buckets[index].marks.insert(mark)
        } else {
            buckets.append((minute, [mark]))
        }
    }

    private static func isForgotten(_ minute: UInt32, at now: UInt32) -> Bool {
        now > minute && now - minute >= 5
    }
}

extension CreateFilter {
    private static let bucketCountLimit = 6

    /// Reads what ``encoded()`` wrote before a clean stop.
    ///
    /// - Throws: ``WireError`` for anything else.
    public init(parsing bytes: [UInt8], bucketLimit: Int = 420_000) throws(WireError) {
        var reader = ByteReader(bytes)
        key = try reader.read(byteCount: 32)
        self.bucketLimit = bucketLimit
        let count: UInt8 = try reader.read()
        guard count <= Self.bucketCountLimit else { throw .invalid(field: "bucket count") }
        for _ in 0..<count {
            let minute: UInt32 = try reader.read()
            let markCount: UInt32 = try reader.read()
            guard markCount <= bucketLimit else {
                throw .tooLarge(
                    field: "marks",
                    value: UInt64(markCount),
                    limit: UInt64(bucketLimit)
                )
            }
            var marks: Set<UInt64> = []
            for _ in 0..<markCount { marks.insert(try reader.read()) }
            buckets.append((minute, marks))
        }
        try reader.finish()
    }

    /// The marks as bytes to store: `key 32 | count u8 | count x (minute u32 | n u32 | n x u64)`.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.write(key)
        let kept = buckets.suffix(Self.bucketCountLimit)
        writer.write(UInt8(kept.count))
        for bucket in kept {
            writer.write(bucket.minute)
            writer.write(UInt32(bucket.marks.count))
            for mark in bucket.marks.sorted() { writer.write(mark) }
        }
        return writer.bytes
    }
}
