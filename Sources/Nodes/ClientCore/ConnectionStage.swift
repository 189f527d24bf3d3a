import Circuits
import Directory
import Links
import Paths
public import Wire

/// How far the first circuit of a tunnel is, in the order of the stages.
public enum ConnectionStage: UInt8, Comparable, CaseIterable, Sendable {
    /// This machine has no way to any relay.
    case offline
    /// A guard is to answer.
    case link
    /// The keys of a circuit are made.
    case keys
    /// Three relays are to take the circuit on.
    case circuit
    /// The exit is to give addresses.
    case addresses
    /// Packets flow.
    case done

    /// Whether `lhs` comes first.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

extension ClientControl {
    /// How far the tunnel `id` is: as its circuit that has come furthest; `nil` if there is none.
    public func connectionStage(of id: TunnelID) -> ConnectionStage? {
        guard let tunnel = tunnels[id] else { return nil }
        if tunnel.state == .connected { return .done }
        guard settings.reachesV4 || settings.reachesV6 else { return .offline }
        var furthest = ConnectionStage.link
        for circuit in circuits.values where circuit.tunnel == id {
            let stage: ConnectionStage =
                switch circuit.stage {
                case .waitingForLink: .link
                case .waitingForKeys: .keys
                case .building: .circuit
                case .ready, .opening, .active: .addresses
                }
            furthest = max(furthest, stage)
        }
        return furthest
    }

    /// How far each tunnel is.
    public var connectionStages: [TunnelID: ConnectionStage] {
        var stages: [TunnelID: ConnectionStage] = [:]
        for id in tunnels.keys { stages[id] = connectionStage(of: id) }
        return stages
    }

    /// The guards that are tried before all others, the best first.
    public var primaryGuards: [RelayRecord] {
        let count = Int(selector.view.parameters.guardPrimaryCount)
        return selector.guards.primaries(count: count).compactMap { selector.view.relay($0) }
    }
}
