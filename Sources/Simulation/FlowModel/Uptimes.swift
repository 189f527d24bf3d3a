import CryptoPrimitives

/// A relay goes down, or comes back.
public struct RelayChange: Hashable, Sendable {
    /// When, in seconds.
    public var time: Double
    /// The relay's number.
    public var relay: Int
    /// Whether it is up from then on.
    public var isUp: Bool
}

/// When relays are up: for each the times at which it goes down and comes back, in seconds.
///
/// Flat arrays; relay r has the changes of ``starts``\[r] up to ``starts``\[r + 1].
struct Uptimes: Sendable {
    private var starts: [Int32] = []
    private var changes: [Float] = []

    /// All relays are up, always.
    init(relayCount: Int) {
        starts = [Int32](repeating: 0, count: relayCount + 1)
    }

    /// Draws the times of a plan.
    ///
    /// All are up at time 0: the directory lists who answered when it was made.
    init(_ plan: NetworkPlan, streams: Streams) {
        self.init(relayCount: plan.relayCount)
        guard let uptime = plan.uptime else { return }
        for relay in 0..<plan.relayCount {
            starts[relay] = Int32(changes.count)
            var random = streams.generator(.uptime, relay)
            changes += Self.draw(uptime, duration: plan.duration, using: &random) ?? []
        }
        starts[plan.relayCount] = Int32(changes.count)
    }

    /// The changes of one relay that is up at time 0.
    private static func draw(
        _ uptime: NetworkPlan.Uptime,
        duration: Double,
        using random: inout RandomGenerator
    ) -> [Float]? {
        for _ in 0..<drawLimit {
            var changes: [Float] = []
            // Begun long before, so that time 0 is anywhere in a time up.
            var time = -3 * (uptime.mean + uptime.down) * (1 + random.unit())
            var isUp = true
            var isUpFirst = true
            while time < duration {
                let length =
                    isUp
                    ? random.weibull(mean: uptime.mean, shape: uptime.shape)
                    : random.exponential(mean: uptime.down)
                let next = time + max(1, length)
                if time <= 0, next > 0 { isUpFirst = isUp }
                if next > 0, next < duration { changes.append(Float(next)) }
                isUp.toggle()
                time = next
            }
            if isUpFirst { return changes }
        }
        return nil
    }

    // Whoever is down in all of so many draws is taken to stay up.
    private static let drawLimit = 100

    /// Whether `relay` is up at `time`.
    func isUp(_ relay: Int, at time: Float) -> Bool {
        var isUp = true
        for index in Int(starts[relay])..<Int(starts[relay + 1]) {
            guard changes[index] <= time else { break }
            isUp.toggle()
        }
        return isUp
    }

    /// When `relay`, which is up at `time`, goes down; infinite for never.
    func downAfter(_ relay: Int, _ time: Float) -> Float {
        for index in Int(starts[relay])..<Int(starts[relay + 1]) where changes[index] > time {
            return changes[index]
        }
        return .infinity
    }

    /// All times at which a relay goes down or comes back, in order.
    var changesInOrder: [RelayChange] {
        var all: [RelayChange] = []
        for relay in 0..<max(0, starts.count - 1) {
            for (number, index) in (Int(starts[relay])..<Int(starts[relay + 1])).enumerated() {
                all.append(
                    RelayChange(
                        time: Double(changes[index]),
                        relay: relay,
                        isUp: !number.isMultiple(of: 2)
                    )
                )
            }
        }
        return all.sorted { ($0.time, $0.relay) < ($1.time, $1.relay) }
    }

    /// Share of time relays are up, all together.
    func availability(duration: Double) -> Double {
        let relayCount = starts.count - 1
        guard relayCount > 0 else { return 1 }
        var up = 0.0
        for relay in 0..<relayCount {
            var isUp = true
            var since = 0.0
            for index in Int(starts[relay])..<Int(starts[relay + 1]) {
                if isUp { up += Double(changes[index]) - since }
                since = Double(changes[index])
                isUp.toggle()
            }
            if isUp { up += duration - since }
        }
        return up / (duration * Double(relayCount))
    }
}
