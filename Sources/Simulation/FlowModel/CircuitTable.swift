/// Circuits as flat arrays, one entry each; those of one client stand together, ascending by start.
struct CircuitTable: Sendable {
    /// What a circuit is.
    struct Kind: OptionSet, Sendable {
        let rawValue: UInt8

        /// Built to stand ready; carries nothing.
        static let spare = Self(rawValue: 1)
        /// A hop died while it carried something.
        static let broken = Self(rawValue: 2)
        /// No link to the guard stood when it was begun.
        static let newLink = Self(rawValue: 4)
        /// A spare that took the place of another.
        static let takenOver = Self(rawValue: 8)
        /// It ended before the run did.
        static let ended = Self(rawValue: 16)
        /// It took the place of one that had grown old.
        static let rotated = Self(rawValue: 32)
    }

    var client: [UInt32] = []
    var guardRelay: [UInt16] = []
    var middle: [UInt16] = []
    var exit: [UInt16] = []
    /// When it begins to carry, in seconds.
    var start: [Float] = []
    /// When it carries no longer, in seconds.
    var end: [Float] = []
    var kind: [Kind] = []
    /// Cells it carried, both ways together.
    var cells: [Float] = []

    var count: Int { client.count }

    mutating func append(
        client: UInt32,
        _ hops: Hops,
        from start: Float,
        to end: Float,
        _ kind: Kind
    ) {
        self.client.append(client)
        guardRelay.append(hops.guardRelay)
        middle.append(hops.middle)
        exit.append(hops.exit)
        self.start.append(start)
        self.end.append(end)
        self.kind.append(kind)
        cells.append(0)
    }

    mutating func append(_ other: Self) {
        client += other.client
        guardRelay += other.guardRelay
        middle += other.middle
        exit += other.exit
        start += other.start
        end += other.end
        kind += other.kind
        cells += other.cells
    }

    mutating func reserve(_ count: Int) {
        client.reserveCapacity(count)
        guardRelay.reserveCapacity(count)
        middle.reserveCapacity(count)
        exit.reserveCapacity(count)
        start.reserveCapacity(count)
        end.reserveCapacity(count)
        kind.reserveCapacity(count)
        cells.reserveCapacity(count)
    }

    /// Three relays by their indexes.
    struct Hops: Hashable, Sendable {
        var guardRelay: UInt16
        var middle: UInt16
        var exit: UInt16
    }
}
