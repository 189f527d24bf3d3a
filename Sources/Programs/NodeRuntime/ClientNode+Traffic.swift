import Base
import ClientCore
import ControlAPI
import Mixing
import NodeConfiguration
import Wire

// What tunnels' traffic looks like, and what that costs.

extension TrafficChoice {
    /// What the configuration says.
    init(_ tunnel: ClientConfiguration.Tunnel) {
        let mode: TrafficMode =
            switch tunnel.mode {
            case .fast: .fast
            case .padded: .padded
            case .mix: .mix
            }
        let slot: Double? =
            switch tunnel.slot {
            case .auto: nil
            case .twenty: 20
            case .ten: 10
            case .five: 5
            case .twoAndAHalf: 2.5
            }
        self.init(mode: mode, slotMilliseconds: mode == .mix ? slot : nil)
    }

    /// The choice as the control thread takes it.
    var wish: TrafficWish {
        switch mode {
        case .fast: .shape(.fast)
        case .padded: .shape(.padded)
        case .mix: slotMilliseconds.flatMap(Self.length).map { .shape(.mix($0)) } ?? .mix
        }
    }

    private static func length(_ milliseconds: Double) -> SlotLength? {
        SlotLength.allCases.first { $0.span.milliseconds == milliseconds }
    }

    /// Checks a choice that came from outside.
    ///
    /// - Throws: ``Failure`` for a slot length there is not, or one without slots.
    func check() throws(Failure) {
        guard let slotMilliseconds else { return }
        guard mode == .mix, Self.length(slotMilliseconds) != nil else {
            throw Failure(
                "there are no slots of \(slotMilliseconds) ms in \(mode.rawValue)",
                why: "mix has slots of 20, 10, 5 and 2.5 ms, other modes have none",
                hint: "umbel up --mode mix --slot 10",
                exit: .usage
            )
        }
    }
}

/// What a tunnel's traffic is to look like, as far as it can be said before there is a directory.
enum TrafficWish: Hashable, Sendable {
    /// Like this.
    case shape(TrafficShape)
    /// `mix`, with the slots of the network.
    case mix

    /// The shape, in a network with slots of this length.
    func shape(of slot: SlotLength) -> TrafficShape {
        switch self {
        case .shape(let shape): shape
        case .mix: .mix(slot)
        }
    }
}

extension TrafficReport {
    /// How the traffic of a circuit looks.
    init(
        _ circuit: ClientControl.CircuitReport,
        _ traffic: CircuitTraffic?
    ) {
        let choice: TrafficChoice =
            switch circuit.shape {
            case .fast: TrafficChoice(mode: .fast)
            case .padded: TrafficChoice(mode: .padded)
            case .mix(let length):
                TrafficChoice(mode: .mix, slotMilliseconds: length.span.milliseconds)
            }
        let isPaid = circuit.pay != nil
        self.init(
            mode: choice.mode,
            slotMilliseconds: choice.slotMilliseconds,
            price: TrafficPrice(of: choice, tickCells: isPaid ? circuit.tickCells : nil)
        )
        if let shaped = traffic?.shaped {
            cellsPerSecond = shaped.cellsPerSecond
            waitingCells = shaped.waitingCells
            coverCells = shaped.coverCells
            rebuiltCells = shaped.rebuiltCells
        }
        if let loops = circuit.loops {
            loopsSent = loops.sent
            loopsAnswered = loops.answered
            loopMilliseconds = loops.lastTrip?.milliseconds
            lossForward = loops.outcome.map { Double($0.forwardLoss) / 10_000 }
            lossBackward = loops.outcome.map { Double($0.backwardLoss) / 10_000 }
        }
    }
}
