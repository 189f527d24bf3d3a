public import CryptoPrimitives
import Glibc

/// Reading pages: objects of a page come together, then somebody reads.
public struct WebModel: Sendable {
    /// How large pages are.
    public enum Size: Sendable {
        /// The whole page is lognormal; its objects share it.
        case page(
            medianByteCount: Double,
            sigma: Double,
            medianObjects: Double,
            objectSigma: Double
        )
        /// A main object and embedded ones, each lognormal and bounded, their number Pareto.
        case objects
    }

    /// How large pages are.
    public var size: Size
    /// Mean time between the end of a page and the next, in seconds; exponential.
    public var readingMeanSeconds: Double
    /// Bytes a client sends for each object.
    public var requestByteCount: Int

    /// Pages as they are measured today, read as planners assume.
    ///
    /// Median weight 2,652 KB in 71 requests: HTTP Archive, Web Almanac 2024, chapter Page Weight
    /// (desktop, October 2024). Spread from the chapter of 2019, which names both: median 1,900 KB
    /// and 74 requests, 90th percentile 6 MB and 179 requests, so the logarithm deviates by
    /// ln(6000/1900)/1.2816 = 0.90 and ln(179/74)/1.2816 = 0.69. Caches are empty there: a person who
    /// comes back loads less. Reading time: exponential of mean 30 s, 3GPP R1-070674. A request of
    /// 500 bytes is an assumption of ours.
    public static let today = WebModel(
        size: .page(
            medianByteCount: 2_652_000,
            sigma: 0.90,
            medianObjects: 71,
            objectSigma: 0.69
        ),
        readingMeanSeconds: 30,
        requestByteCount: 500
    )

    /// Pages as mobile networks are planned with since 2004, about fifty times lighter.
    ///
    /// 3GPP R1-070674 (and 3GPP2 C.R1002): main object lognormal μ 8.37 σ 1.37 within 100 B to 2 MB;
    /// embedded objects lognormal μ 6.17 σ 2.36 within 50 B to 2 MB, their number Pareto of shape 1.1
    /// from 2 up to 55, less 2; reading time exponential of mean 30 s.
    public static let planning = WebModel(
        size: .objects,
        readingMeanSeconds: 30,
        requestByteCount: 350
    )

    /// What one reader loads in `seconds`.
    public func transfers(seconds: Double, random: inout RandomGenerator) -> [Transfer] {
        var transfers: [Transfer] = []
        // Waiting times have no memory: the first page comes as if the reader had begun long ago.
        var time = random.exponential(mean: readingMeanSeconds)
        while time < seconds {
            let page = page(random: &random)
            transfers.append(
                Transfer(
                    time: time,
                    uploadByteCount: page.objects * requestByteCount,
                    downloadByteCount: page.byteCount,
                    objectCount: page.objects
                )
            )
            time += random.exponential(mean: readingMeanSeconds)
        }
        return transfers
    }

    private func page(random: inout RandomGenerator) -> (byteCount: Int, objects: Int) {
        switch size {
        case .page(let median, let sigma, let medianObjects, let objectSigma):
            // A page of 100 MB is somebody's mistake, and would be a session of its own.
            let bytes = min(random.lognormal(mu: log(median), sigma: sigma), 1e8)
            let objects = min(random.lognormal(mu: log(medianObjects), sigma: objectSigma), 2_000)
            return (Int(bytes), max(1, Int(objects)))
        case .objects:
            var bytes = Self.bounded(100, 2e6, mu: 8.37, sigma: 1.37, random: &random)
            let embedded = min(random.pareto(shape: 1.1, minimum: 2), 55) - 2
            for _ in 0..<Int(embedded) {
                bytes += Self.bounded(50, 2e6, mu: 6.17, sigma: 2.36, random: &random)
            }
            return (Int(bytes), 1 + Int(embedded))
        }
    }

    /// Draws again until the value is within bounds, as the model says.
    private static func bounded(
        _ least: Double,
        _ most: Double,
        mu: Double,
        sigma: Double,
        random: inout RandomGenerator
    ) -> Double {
        while true {
            let value = random.lognormal(mu: mu, sigma: sigma)
            if value >= least, value <= most { return value }
        }
    }
}
