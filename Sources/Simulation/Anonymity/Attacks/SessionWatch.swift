/// Watching when clients begin and end sending, against when flows begin and end at exits.
public enum SessionWatch {
    /// When something began and ended, in seconds.
    public struct Session: Hashable, Sendable {
        /// The beginning.
        public var start: Double
        /// The end, not before the beginning.
        public var stop: Double

        /// A session.
        public init(start: Double, stop: Double) {
            self.start = start
            self.stop = stop
        }

        /// From the first to the last of what was seen; `nil` where nothing was.
        public init?(_ trace: FlowTrace) {
            guard let first = trace.times.first, let last = trace.times.last else { return nil }
            self.init(start: first, stop: last)
        }
    }

    /// Scores every pair: the nearer beginning to beginning and end to end, the better.
    ///
    /// A flow cannot be of a client who was not sending all through it: such pairs come last of all.
    public static func scores(exits: [Session], links: [Session]) -> ScoreMatrix {
        ScoreMatrix(count: min(exits.count, links.count)) { flow, client in
            let (exit, link) = (exits[flow], links[client])
            let distance = abs(exit.start - link.start) + abs(exit.stop - link.stop)
            // A second of grace for delays and clocks.
            let isWithin = exit.start >= link.start - 1 && exit.stop <= link.stop + 1
            return isWithin ? -distance : -1e9 - distance
        }
    }
}
