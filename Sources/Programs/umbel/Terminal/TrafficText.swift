import ControlAPI

/// Modes and their prices as text.
enum TrafficText {
    /// A mode, with its slots.
    static func name(_ choice: TrafficChoice) -> String {
        let slot = choice.slotMilliseconds.map { ", slots of \(number($0)) ms" } ?? ""
        return choice.mode.rawValue + slot
    }

    /// What a mode costs, in one line.
    static func price(_ price: TrafficPrice) -> String {
        guard price.cellsPerSecond > 0 else { return "what is sent, no delay of its own" }
        var rate = "\(price.cellsPerSecond)"
        if let most = price.mostCellsPerSecond, most != price.cellsPerSecond {
            rate += " to \(most)"
        }
        let line = number(Double(price.kilobitsPerSecond) / 1_000)
        var text = "\(rate) cells/s each way, always: \(line) Mbit/s of the line or more, up to "
        text += "\(price.addedDelayMilliseconds) ms added to a round trip"
        if let ticks = price.ticksPerHour {
            text += ", \(ticks) ticks an hour to guard and middle at least"
        }
        return text
    }

    /// Says what the mode that is asked for costs; nothing for `fast`, or where none is.
    static func tellPrice(of choice: TrafficChoice?) {
        guard let choice, choice.mode != .fast else { return }
        // As much as a tick pays for in every network but odd ones; `circuits show` has this one's.
        let price = TrafficPrice(of: choice, tickCells: 256)
        Output.note("\(name(choice)): \(self.price(price)) where relays are paid")
    }

    /// A circuit's traffic, for `circuits show`.
    static func fields(_ report: TrafficReport) -> [(String, String)] {
        let choice = TrafficChoice(mode: report.mode, slotMilliseconds: report.slotMilliseconds)
        return [("Mode", name(choice)), ("Price", price(report.price))] + schedule(report)
    }

    /// What a circuit's schedule does; nothing where none is kept.
    static func schedule(_ report: TrafficReport) -> [(String, String)] {
        var fields: [(String, String)] = []
        if let rate = report.cellsPerSecond {
            let state = rate == 0 ? "not kept yet" : "\(rate) cells/s now"
            let cells = "\(report.coverCells ?? 0) cover, \(report.rebuiltCells ?? 0) rebuilt"
            fields.append(("Schedule", "\(state), \(report.waitingCells ?? 0) waiting, \(cells)"))
        }
        if report.mode == .mix, let sent = report.loopsSent {
            let time = report.loopMilliseconds.map { ", the last in \(Text.fine($0)) ms" } ?? ""
            fields.append(("Loops", "\(report.loopsAnswered ?? 0) of \(sent) came back\(time)"))
        }
        if report.mode == .mix, let forward = report.lossForward, let backward = report.lossBackward
        {
            let text = "\(Text.fine(forward)) % forward, \(Text.fine(backward)) % backward"
            fields.append(("Lost", "\(text), before repair"))
        }
        return fields
    }

    /// A number without zeros that say nothing.
    private static func number(_ value: Double) -> String {
        let tenths = (value * 10).rounded() / 10
        return tenths == tenths.rounded() ? "\(Int(tenths))" : "\(tenths)"
    }
}
