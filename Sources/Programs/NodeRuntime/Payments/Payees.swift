import ClientCore
import Directory
import Paths
import Wire

/// Relays that may stand in a client's circuits: those it may have to pay.
struct Payees: Sendable {
    private static let exitCount = 8

    /// Paid by large vouchers, over all circuits.
    var guards: [NodeID]
    /// Paid by small ones, circuit by circuit.
    var others: [NodeID]

    /// Those of the paths a client keeps.
    init(guards: GuardSample, middles: MiddleSet, view: NetworkView) {
        self.guards = guards.primaries(count: Int(view.parameters.guardPrimaryCount))
        let middles = middles.members.map(\.id)
        let exits = view.relays.filter { $0.flags.contains(.exit) && !middles.contains($0.id) }
            .sorted { ($1.weight, $0.id) < ($0.weight, $1.id) }
        others = middles + exits.prefix(Self.exitCount).map(\.id)
    }
}
