import Base
import Directory
import Wire

/// What a relay carried when it was measured, and what it therefore counts for.
///
/// The latest three results of each kind are kept. A relay counts for the lower of their medians: one
/// bad helper, or one good minute, does not decide. What it counts for at most doubles in a time.
struct RelayRate: Hashable, Sendable {
    private static let kept = 3
    private static let doublingLimit: UInt64 = 15
    private static let steps: UInt64 = 64

    // Latest results in kilobits a second, 0 for a failure; the newest last.
    private var ends: [UInt32] = []
    private var middles: [UInt32] = []
    /// What it counts for in kilobits a second; 0 while nothing was measured.
    private(set) var kilobits: UInt32 = 0
    private var updated = CivilTime(milliseconds: 0)
    /// When it was measured last, or was about to be.
    var begun = CivilTime(milliseconds: 0)

    // Whether the relay is measured as the first of two next, or as the middle of three.
    private var isFirstNext = true

    init() {}

    /// What is measured next.
    var nextPlace: AuthorityControl.Place {
        isFirstNext ? .first : .middle
    }

    /// Takes a result; `nil` for a circuit over which nothing came back.
    ///
    /// - Parameters:
    ///   - claimed: what the relay counted for before it was measured for the first time.
    ///   - growthSeconds: the time in which it may double.
    mutating func note(
        _ result: UInt32?,
        at place: AuthorityControl.Place,
        claimed: UInt32,
        growthSeconds: UInt32,
        now: CivilTime
    ) {
        switch place {
        case .first: Self.add(result ?? 0, to: &ends)
        case .middle: Self.add(result ?? 0, to: &middles)
        }
        isFirstNext = place == .middle
        let medians = [ends, middles].filter { !$0.isEmpty }.map { VoteTally.lowMedian($0) }
        let measured = max(1, medians.min() ?? 1)
        if kilobits == 0 {
            kilobits = min(measured, max(1, claimed))
            updated = now
            return
        }
        let elapsed = now > updated ? now.milliseconds - updated.milliseconds : 0
        let limit = Self.grown(kilobits, milliseconds: elapsed, doublingSeconds: growthSeconds)
        if measured <= limit {
            kilobits = measured
            updated = now
        } else if limit > kilobits {
            kilobits = limit
            updated = now
        }
        // Where it may not grow by one yet, the time counts on.
    }

    private static func add(_ result: UInt32, to results: inout [UInt32]) {
        results.append(result)
        if results.count > kept { results.removeFirst() }
    }

    /// `value` after it has doubled every `doublingSeconds` for `milliseconds`; never more than that.
    static func grown(
        _ value: UInt32,
        milliseconds: UInt64,
        doublingSeconds: UInt32
    ) -> UInt32 {
        let doubling = UInt64(max(1, doublingSeconds)) * 1_000
        let whole = min(milliseconds / doubling, doublingLimit)
        // With 16 bits behind the point.
        let most = UInt64(UInt32.max) << 16
        var grown = min(UInt64(value) << (whole + 16), most)
        // The 64th root of 2 is 1.010889 and a little more; a part of a 64th is none.
        for _ in 0..<milliseconds % doubling * steps / doubling {
            grown = min(grown + grown * 10_889 / 1_000_000, most)
        }
        return UInt32(clamping: grown >> 16)
    }
}

extension RelayRate {
    static let byteCount = 4 + 8 + 8 + 1 + 2 + 4 * 2 * kept

    /// Layout: `kilobits u32 | updated u64 ms | begun u64 ms | first next u8 | count u8 | count x u32, filled up
    /// to 3 | the same of the other kind`.
    func write(to writer: inout ByteWriter) {
        writer.write(kilobits)
        writer.write(updated.milliseconds)
        writer.write(begun.milliseconds)
        writer.write(UInt8(isFirstNext ? 1 : 0))
        for results in [ends, middles] {
            writer.write(UInt8(results.count))
            for result in results { writer.write(result) }
            writer.writeZeros((Self.kept - results.count) * 4)
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        kilobits = try reader.read()
        updated = CivilTime(milliseconds: try reader.read())
        begun = CivilTime(milliseconds: try reader.read())
        isFirstNext = try reader.read(UInt8.self) != 0
        ends = try Self.readResults(&reader)
        middles = try Self.readResults(&reader)
    }

    private static func readResults(_ reader: inout ByteReader) throws(WireError) -> [UInt32] {
        let count = Int(try reader.read(UInt8.self))
        guard count <= kept else { throw .invalid(field: "measurements") }
        var results: [UInt32] = []
        for index in 0..<kept {
            let result = try reader.read(UInt32.self)
            if index < count { results.append(result) }
        }
        return results
    }
}
