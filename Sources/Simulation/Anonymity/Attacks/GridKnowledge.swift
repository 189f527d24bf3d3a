/// What is known of cells on a shared grid to who sees both ends of a client's link: which were lost,
/// and which of those the middle could make again from the others of their group.
///
/// Which slot of each group carries its parity is not seen; every way it may lie is a guess.
public struct GridKnowledge: Sendable {
    /// A cell as it was sent.
    public struct Cell: Hashable, Sendable {
        /// When, in seconds.
        public var time: Double
        /// Whether it was lost before the middle.
        public var isLost: Bool

        /// A cell.
        public init(time: Double, isLost: Bool) {
            self.time = time
            self.isLost = isLost
        }
    }

    private let slotSeconds: Double
    private let groupCount: Int

    /// Knowledge of a grid with groups of `groupCount` cells of data and one of parity.
    ///
    /// - Precondition: slots have a length, and groups hold something.
    public init(slotSeconds: Double, groupCount: Int) {
        precondition(slotSeconds > 0 && groupCount > 0, "a grid has slots and groups")
        self.slotSeconds = slotSeconds
        self.groupCount = groupCount
    }

    /// For each place the parity may have, the times of cells of data that reached the middle or
    /// were made again there.
    ///
    /// - Parameter sent: what a client sent, in order; slots are counted from the first.
    public func causes(_ sent: [Cell]) -> [[Double]] {
        guard let first = sent.first else { return [[]] }
        let slots = sent.map { Int((($0.time - first.time) / slotSeconds).rounded()) }
        let period = groupCount + 1
        return (0..<period).map { shift in
            func group(_ slot: Int) -> Int { (slot + shift) / period }
            var losses: [Int: Int] = [:]
            for (cell, slot) in zip(sent, slots) where cell.isLost {
                losses[group(slot), default: 0] += 1
            }
            return zip(sent, slots)
                .filter { cell, slot in
                    (slot + shift) % period != groupCount
                        && (!cell.isLost || losses[group(slot)] == 1)
                }
                .map(\.0.time)
        }
    }
}
