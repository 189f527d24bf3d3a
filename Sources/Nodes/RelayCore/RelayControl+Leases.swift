import Base
import Circuits
import CryptoPrimitives
import DequeModule
import Directory
import Flows
import Links
import Onion
import Tickets
import Wire

// Addresses at the exit that circuits hold.
extension RelayControl {
    /// Gives a circuit a lease, or the one that `shown` opens, and says what to answer.
    mutating func openTunnel(
        _ id: CircuitID,
        shown: Bytes32,
        now: Instant
    ) -> ControlMessage.TunnelOpened {
        var answer = ControlMessage.TunnelOpened(
            status: .notAnExit,
            families: 0,
            leaseSecret: .zero,
            idleLimit: 0
        )
        guard let circuit = circuits[id], circuit.next == nil, leases != nil else { return answer }
        answer.families = leases?.pool.v6 == nil ? 1 : 3
        answer.idleLimit = UInt16(
            clamping: (leases?.idleLimit.nanoseconds ?? 0) / 1_000_000_000
        )
        answer.leaseSecret = random.bytes32()
        let owner = id.rawValue
        let lease: UInt32
        do throws(FlowError) {
            if let taken = takeOver(shown, by: owner, secret: answer.leaseSecret, now: now) {
                lease = taken
                answer.status = .takenOver
            } else {
                let opened = try leases?.open(owner: owner, secret: answer.leaseSecret, now: now)
                guard let opened else { return answer }
                lease = opened
                answer.status = .opened
            }
        } catch {
            answer.status = .full
            return answer
        }
        if shardCount > 1 {
            for shard in 0..<shardCount {
                tell(.placeLease(lease, shard: circuit.shard), to: shard)
            }
        }
        tell(.holdLease(id, lease), to: id)
        desk.noteExit(id, now: now)
        return answer
    }

    /// Moves the lease that `shown` opens to the circuit `owner`; `nil` where it opens none.
    private mutating func takeOver(
        _ shown: Bytes32,
        by owner: UInt64,
        secret: Bytes32,
        now: Instant
    ) -> UInt32? {
        guard shown != .zero else { return nil }
        do throws(FlowError) {
            guard
                let grant = try leases?.takeOver(
                    shown: shown,
                    owner: owner,
                    secret: secret,
                    now: now
                )
            else { return nil }
            if let previous = grant.previousOwner {
                let cutOff = CircuitID(rawValue: previous)
                tell(.releaseLease(cutOff), to: cutOff)
            }
            return grant.lease
        } catch {
            // The lease is gone: a new one is all there is to give.
            return nil
        }
    }
}
