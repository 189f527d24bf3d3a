/// What a tunnel's traffic looks like to who watches it.
public enum TrafficMode: String, Codable, CaseIterable, Hashable, Sendable {
    /// Cells leave as they come.
    case fast
    /// Cells leave at one of four rates, with cover to the middle.
    case padded
    /// A cell leaves in each slot of a grid that all share.
    case mix
}

/// A mode, and the slot length of `mix`.
public struct TrafficChoice: Codable, Hashable, Sendable {
    /// The mode.
    public var mode: TrafficMode
    /// Milliseconds of a slot of `mix`: 20, 10, 5 or 2.5; `nil` for what the network says, and in
    /// other modes.
    public var slotMilliseconds: Double?

    /// Slot lengths there are, in milliseconds.
    public static let slotLengths: [Double] = [20, 10, 5, 2.5]

    /// Makes a choice.
    public init(mode: TrafficMode, slotMilliseconds: Double? = nil) {
        self.mode = mode
        self.slotMilliseconds = slotMilliseconds
    }

    private enum CodingKeys: String, CodingKey {
        case mode
        case slotMilliseconds = "slot_ms"
    }
}

/// What a mode costs: what is sent whether or not there is anything to say.
public struct TrafficPrice: Codable, Hashable, Sendable {
    /// Cells a second each way, at least.
    public var cellsPerSecond: Int
    /// Cells a second each way, at most; `nil` where nothing limits them.
    public var mostCellsPerSecond: Int?
    /// Kilobits a second each way that this takes of the line, at least.
    public var kilobitsPerSecond: Int
    /// Milliseconds added to a round trip, at most, as long as not more is sent than is carried.
    public var addedDelayMilliseconds: Int
    /// Ticks an hour paid to guard and middle together, at least; `nil` where relays are not paid.
    public var ticksPerHour: Int?

    /// Bytes a datagram takes of a line, with headers of UDP and IPv4.
    private static let datagramByteCount = 1_420
    /// Slots a cell is held at the middle, at most, and waits at client, guard and middle.
    private static let slotCount = 24 + 5

    /// The price of `choice` where a tick pays for `tickCells` cells.
    ///
    /// - Parameter slot: the network's own slot length, in milliseconds.
    public init(of choice: TrafficChoice, slot: Double = 10, tickCells: Int? = nil) {
        switch choice.mode {
        case .fast:
            cellsPerSecond = 0
            mostCellsPerSecond = nil
            addedDelayMilliseconds = 0
        case .padded:
            cellsPerSecond = 16
            mostCellsPerSecond = 1_024
            addedDelayMilliseconds = 500
        case .mix:
            let length = choice.slotMilliseconds ?? slot
            cellsPerSecond = Int((1_000 / max(length, 1)).rounded())
            mostCellsPerSecond = cellsPerSecond
            addedDelayMilliseconds = Int((Double(Self.slotCount) * length).rounded())
        }
        kilobitsPerSecond = cellsPerSecond * Self.datagramByteCount * 8 / 1_000
        // Each of the two counts what it carries forward and backward.
        ticksPerHour = tickCells.map { 2 * 2 * cellsPerSecond * 3_600 / max(1, $0) }
    }

    private enum CodingKeys: String, CodingKey {
        case cellsPerSecond = "cells_s"
        case mostCellsPerSecond = "cells_s_most"
        case kilobitsPerSecond = "kbit_s"
        case addedDelayMilliseconds = "added_ms"
        case ticksPerHour = "ticks_h"
    }
}

/// How the traffic of one circuit looks, and what its loops found.
public struct TrafficReport: Codable, Hashable, Sendable {
    /// The mode.
    public var mode: TrafficMode
    /// Milliseconds of a slot of `mix`; `nil` in other modes.
    public var slotMilliseconds: Double?
    /// What the mode costs.
    public var price: TrafficPrice
    /// Cells a second sent now by the schedule; `nil` where none is kept.
    public var cellsPerSecond: Int?
    /// Cells that wait for their time.
    public var waitingCells: Int?
    /// Cover sent.
    public var coverCells: UInt64?
    /// Cells that parity brought back.
    public var rebuiltCells: UInt64?
    /// Per cent of cells that the middle did not get, of late; `nil` before that was judged.
    public var lossForward: Double?
    /// Per cent of cells from the middle that did not come, of late, before repair.
    public var lossBackward: Double?
    /// Loops sent to the exit.
    public var loopsSent: Int?
    /// Loops that came back.
    public var loopsAnswered: Int?
    /// Milliseconds the last loop took.
    public var loopMilliseconds: Double?

    /// Makes a report of a circuit without a schedule.
    public init(mode: TrafficMode, slotMilliseconds: Double? = nil, price: TrafficPrice) {
        self.mode = mode
        self.slotMilliseconds = slotMilliseconds
        self.price = price
    }

    private enum CodingKeys: String, CodingKey {
        case mode, price
        case slotMilliseconds = "slot_ms"
        case cellsPerSecond = "cells_s"
        case waitingCells = "waiting"
        case coverCells = "cover"
        case rebuiltCells = "rebuilt"
        case lossForward = "loss_forward_pct"
        case lossBackward = "loss_backward_pct"
        case loopsSent = "loops_sent"
        case loopsAnswered = "loops_answered"
        case loopMilliseconds = "loop_ms"
    }
}
