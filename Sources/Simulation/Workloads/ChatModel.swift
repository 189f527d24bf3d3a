public import CryptoPrimitives
import Glibc

/// Writing messages with others.
///
/// Times between messages are exponential: Bahramali, Soltani, Houmansadr, Goeckel, Towsley,
/// "Practical Traffic Analysis Attacks on Secure Messaging Applications", NDSS 2020, found so in
/// channels of several messengers. The figures are assumptions of ours: a message every 15 s one way
/// or the other, text of 200 bytes in the median with its wrapping, one in twenty a picture of
/// 100 KB in the median.
public struct ChatModel: Sendable {
    /// Mean time between messages, in seconds.
    public var gapMeanSeconds = 15.0
    /// Share of messages that are pictures.
    public var pictureShare = 0.05

    /// The model as its comment says.
    public init() {}

    /// What one person sends and gets in `seconds`.
    public func transfers(seconds: Double, random: inout RandomGenerator) -> [Transfer] {
        var transfers: [Transfer] = []
        var time = random.exponential(mean: gapMeanSeconds)
        while time < seconds {
            let isPicture = random.unit() < pictureShare
            let median = isPicture ? 100_000.0 : 200
            let bytes = Int(min(random.lognormal(mu: log(median), sigma: 0.6), 1e7))
            let isOwn = random.unit() < 0.5
            transfers.append(
                Transfer(
                    time: time,
                    uploadByteCount: isOwn ? bytes : 100,
                    downloadByteCount: isOwn ? 100 : bytes
                )
            )
            time += random.exponential(mean: gapMeanSeconds)
        }
        return transfers
    }
}
