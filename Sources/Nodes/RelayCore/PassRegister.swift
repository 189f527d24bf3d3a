import Base
import CryptoPrimitives
import Wire

/// Which authorities' passes were shown to this relay: each is good once.
///
/// Spec: PROTOCOL.md §A.5. Bound: ``limit`` passes of the last minutes; beyond it none is taken.
struct PassRegister {
    /// Cells of a measured circuit beyond those that are measured: building, echoes, repetitions.
    static let spareCells: UInt64 = 4_096
    private static let limit = 4_096
    /// Minutes a pass may be away from this relay's clock.
    private static let minuteWindow: UInt32 = 5

    /// The authorities' keys, by index.
    var authorities: [UInt8: Bytes32] = [:]
    private var seen: [[UInt8]: UInt32] = [:]

    /// Takes a pass that is an authority's, of these minutes, for this relay, and new.
    mutating func take(
        _ pass: PayPass,
        relay: NodeID,
        network: NetworkID,
        at wall: WallTime
    ) -> Bool {
        let minute = wall.minute
        let distance = pass.minute > minute ? pass.minute - minute : minute - pass.minute
        guard distance <= Self.minuteWindow, let key = authorities[pass.authority] else {
            return false
        }
        seen = seen.filter { $0.value + 2 * Self.minuteWindow >= minute }
        guard seen.count < Self.limit, seen[pass.nonce] == nil,
            Ed25519.isValid(
                pass.signature,
                of: pass.body(for: relay),
                by: key,
                label: .pass,
                network: network.rawValue
            )
        else { return false }
        seen[pass.nonce] = pass.minute
        return true
    }
}
