public import CryptoPrimitives

/// Watching a film that comes in segments of equal time.
///
/// Segments of 6 s and the rates of the ladder: Apple, HLS Authoring Specification for Apple
/// Devices (H.264, 30 frames/s: 2,000, 3,000, 4,500, 6,000 kbit/s are its rungs of 960 × 540 to
/// 1920 × 1080). A player fetches one segment as it plays another. That the rung is drawn once a film
/// and each segment's size deviates by a fifth are assumptions of ours.
public struct VideoModel: Sendable {
    /// Seconds of film in a segment.
    public var segmentSeconds = 6.0
    /// Rates a film may have, in bits a second.
    public var ladder = [2_000_000.0, 3_000_000, 4_500_000, 6_000_000]
    /// Deviation of a segment's size, as a share of it.
    public var sizeDeviation = 0.2
    /// Bytes a client sends for a segment.
    public var requestByteCount = 500

    /// The model as its comment says.
    public init() {}

    /// What one viewer loads in `seconds`.
    public func transfers(seconds: Double, random: inout RandomGenerator) -> [Transfer] {
        let rate = ladder[Int(random.next(below: UInt64(ladder.count)))]
        var transfers: [Transfer] = []
        var time = random.unit() * segmentSeconds
        while time < seconds {
            let share = max(0.2, 1 + sizeDeviation * random.normal())
            transfers.append(
                Transfer(
                    time: time,
                    uploadByteCount: requestByteCount,
                    downloadByteCount: Int(rate * segmentSeconds / 8 * share)
                )
            )
            time += segmentSeconds
        }
        return transfers
    }
}
