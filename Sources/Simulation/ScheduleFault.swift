import RelayCore
import Wire

/// What a relay does that does not keep the schedule of `mix` circuits whose guard it is.
public enum ScheduleFault: Sendable, Equatable {
    /// Of so many datagrams for clients one is dropped.
    case drops(oneOf: Int)
    /// Datagrams for clients go out so many at a time.
    case bunches(of: Int)
    /// Of so many datagrams for clients one is overtaken by the next.
    case reorders(oneOf: Int)
    /// Of so many datagrams for clients one is of another size.
    case resizes(oneOf: Int)
    /// It serves twice as many slots as there are, with PAD in each second one.
    case floods
}

/// Datagrams on which a fault is at work.
struct TamperedLine {
    private var count = 0
    private var waiting: [[UInt8]] = []

    /// What goes out in place of one datagram.
    mutating func pass(_ bytes: [UInt8], _ fault: ScheduleFault) -> [[UInt8]] {
        count += 1
        switch fault {
        case .drops(let share):
            return count % share == 0 ? [] : [bytes]
        case .bunches(let size):
            waiting.append(bytes)
            guard waiting.count >= size else { return [] }
            defer { waiting = [] }
            return waiting
        case .reorders(let share):
            if count % share == 0 {
                waiting.append(bytes)
                return []
            }
            defer { waiting = [] }
            return [bytes] + waiting
        case .resizes(let share):
            return [count % share == 0 ? Array(bytes.prefix(1_000)) : bytes]
        case .floods:
            return [bytes]
        }
    }
}

extension RelayCommand {
    /// The command as a guard takes it that serves twice as many slots as there are.
    var hurried: Self {
        guard case .installCircuit(let circuit) = self, let order = circuit.shape,
            case .mix(let length) = order.shape, circuit.hop == .first,
            let shorter = SlotLength(rawValue: length.rawValue / 2)
        else { return self }
        return .installCircuit(
            NewRelayCircuit(
                id: circuit.id,
                link: circuit.link,
                number: circuit.number,
                hop: circuit.hop,
                early: circuit.early,
                keys: circuit.keys,
                start: circuit.start,
                allowance: circuit.allowance,
                shape: ShapeOrder(shape: .mix(shorter), step: order.step, hold: order.hold)
            )
        )
    }
}
