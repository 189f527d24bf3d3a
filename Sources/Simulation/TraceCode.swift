import Base
import Circuits
import ClientCore
import Links
import Mixing
import RelayCore
import Tickets
import Wire

// What of an event, command or outcome goes into the trace: its kind and whom it concerns.

extension LinkEvent {
    var traceCode: UInt64 {
        switch self {
        case .confirmed(let id): 1 << 32 | UInt64(id.rawValue)
        case .lost(let id): 2 << 32 | UInt64(id.rawValue)
        case .rekeyDue(let id): 3 << 32 | UInt64(id.rawValue)
        case .control(let id, _): 4 << 32 | UInt64(id.rawValue)
        case .roamed(let id, _): 5 << 32 | UInt64(id.rawValue)
        }
    }
}

extension RelayEvent {
    var traceCode: UInt64 {
        switch self {
        case .link(let event): 1 << 56 | event.traceCode
        case .handshake(_, let source):
            2 << 56 | UInt64(source.port) << 32 | source.ip.low & 0xffff_ffff
        case .create(let link, let number, _):
            3 << 56 | UInt64(link.rawValue & 0xff_ffff) << 32 | UInt64(number.rawValue)
        case .created(let link, let number, _):
            4 << 56 | UInt64(link.rawValue & 0xff_ffff) << 32 | UInt64(number.rawValue)
        case .destroyed(let id): 5 << 56 | UInt64(id.rawValue) << 1
        case .nextLost(let id): 5 << 56 | UInt64(id.rawValue) << 1 | 1
        case .refused(let link, let number, _):
            6 << 56 | UInt64(link.rawValue & 0xff_ffff) << 32 | UInt64(number.rawValue)
        case .control(let id, let bytes, let isEarly):
            7 << 56 | UInt64(bytes.count) << 33 | (isEarly ? 1 << 32 : 0) | UInt64(id.rawValue)
        case .idle(let id): 10 << 56 | UInt64(id.rawValue)
        case .counted(let id, let counts):
            11 << 56 | (counts.used & 0xff_ffff) << 32 | UInt64(id.rawValue)
        }
    }
}

extension RelayCommand {
    var traceCode: UInt64 {
        switch self {
        case .addLink(let link): 1 << 56 | UInt64(link.id.rawValue)
        case .renewLink(let id, let session):
            2 << 56 | UInt64(id.rawValue & 0xff_ffff) << 32 | UInt64(session.local.rawValue)
        case .removeLink(let id, _): 3 << 56 | UInt64(id.rawValue)
        case .keepLinkAlive(let id, let isWanted):
            4 << 56 | (isWanted ? 1 << 32 : 0) | UInt64(id.rawValue)
        case .sendHandshake(_, let destination):
            5 << 56 | UInt64(destination.port) << 32 | destination.ip.low & 0xffff_ffff
        case .sendCell(let link, let number, let command, _):
            6 << 56 | UInt64(command.rawValue) << 48 | UInt64(link.rawValue & 0xffff) << 32
                | UInt64(number.rawValue)
        case .sendLinkControl(let id, _): 7 << 56 | UInt64(id.rawValue)
        case .installCircuit(let circuit): 8 << 56 | UInt64(circuit.id.rawValue)
        case .refuseCircuit(let link, let number):
            9 << 56 | UInt64(link.rawValue & 0xff_ffff) << 32 | UInt64(number.rawValue)
        case .setNext(let id, _, let number):
            10 << 56 | UInt64(id.rawValue & 0xff_ffff) << 32 | UInt64(number.rawValue)
        case .sendControl(let id, let bytes):
            11 << 56 | UInt64(bytes.count) << 32 | UInt64(id.rawValue)
        case .holdLease(let id, let lease): 12 << 56 | UInt64(lease) << 32 | UInt64(id.rawValue)
        case .removeCircuit(let id): 13 << 56 | UInt64(id.rawValue)
        case .clearNext(let id): 14 << 56 | UInt64(id.rawValue)
        case .releaseLease(let id): 15 << 56 | UInt64(id.rawValue)
        case .placeLease(let lease, let shard):
            16 << 56 | UInt64(shard) << 32 | UInt64(lease)
        case .allow(let id, let allowance):
            17 << 56 | (allowance.cellLimit & 0xff_ffff) << 32 | UInt64(id.rawValue)
        case .count(let id): 18 << 56 | UInt64(id.rawValue)
        }
    }
}

extension LinkDialer.JobResult {
    var traceCode: UInt64 {
        switch self {
        case .initiated(let id, _): 1 << 32 | UInt64(id.rawValue)
        case .finished(let id, _, _): 2 << 32 | UInt64(id.rawValue)
        case .solved(let id, _, _): 3 << 32 | UInt64(id.rawValue)
        }
    }
}

extension RelayJob.Outcome {
    var traceCode: UInt64 {
        switch self {
        case .dialer(let result): 1 << 56 | result.traceCode
        case .responded(_, let result): 2 << 56 | ((try? result.get()) == nil ? 0 : 1)
        case .created(_, _, let result): 3 << 56 | ((try? result.get()) == nil ? 0 : 1)
        case .verified(let id, _, let isValid):
            4 << 56 | (isValid ? 1 << 32 : 0) | UInt64(id.rawValue)
        }
    }
}

extension ClientJob.Outcome {
    var traceCode: UInt64 {
        switch self {
        case .dialer(let result): 1 << 56 | result.traceCode
        case .built(let id, _): 2 << 56 | UInt64(id.rawValue)
        case .finished(let id, let work, _):
            3 << 56 | UInt64(work.hop.rawValue) << 32 | UInt64(id.rawValue)
        case .wallet(let outcome):
            switch outcome {
            case .blinded(let vouchers, _, _): 4 << 56 | UInt64(vouchers.count)
            case .finalized(let vouchers, _): 5 << 56 | UInt64(vouchers?.count ?? 0)
            case .failed: 6 << 56
            }
        }
    }
}

extension ClientEvent {
    var traceCode: UInt64 {
        switch self {
        case .link(let event): 1 << 56 | event.traceCode
        case .handshake(_, let source):
            2 << 56 | UInt64(source.port) << 32 | source.ip.low & 0xffff_ffff
        case .created(let id, _): 3 << 56 | UInt64(id.rawValue)
        case .destroyed(let id, _): 4 << 56 | UInt64(id.rawValue)
        case .control(let id, let hop, let bytes):
            5 << 56 | UInt64(hop.rawValue) << 48 | UInt64(bytes.count) << 32 | UInt64(id.rawValue)
        case .silent(let id, _): 6 << 56 | UInt64(id.rawValue)
        case .exhausted(let id): 7 << 56 | UInt64(id.rawValue)
        case .leaseUnused(let id): 8 << 56 | UInt64(id.rawValue)
        case .measured(let id, let kilobits):
            9 << 56 | UInt64(kilobits ?? 0) << 16 | UInt64(id.rawValue)
        case .counted(let id, let counts):
            10 << 56 | (counts.total & 0xff_ffff) << 32 | UInt64(id.rawValue)
        case .unpaid(let id): 11 << 56 | UInt64(id.rawValue)
        case .packet(let id, let bytes): 12 << 56 | UInt64(bytes.count) << 32 | UInt64(id.rawValue)
        case .probed(let id, let bytes):
            13 << 56 | UInt64(bytes.count) << 32 | UInt64(id.rawValue)
        case .judged(let id, let outcome):
            15 << 56 | (outcome.backwardLoss & 0xff_ffff) << 32 | UInt64(id.rawValue)
        case .pinged(let id, _, let outcome):
            14 << 56 | UInt64(outcome.roundTrips.count & 0xff_ffff) << 32 | UInt64(id.rawValue)
        }
    }
}

extension ClientCommand {
    var traceCode: UInt64 {
        switch self {
        case .addLink(let link): 1 << 56 | UInt64(link.id.rawValue)
        case .renewLink(let id, let session):
            2 << 56 | UInt64(id.rawValue & 0xff_ffff) << 32 | UInt64(session.local.rawValue)
        case .removeLink(let id, _): 3 << 56 | UInt64(id.rawValue)
        case .sendHandshake(_, let destination):
            4 << 56 | UInt64(destination.port) << 32 | destination.ip.low & 0xffff_ffff
        case .sendCell(let link, let number, let command, _):
            5 << 56 | UInt64(command.rawValue) << 48 | UInt64(link.rawValue & 0xffff) << 32
                | UInt64(number.rawValue)
        case .sendLinkControl(let id, _): 6 << 56 | UInt64(id.rawValue)
        case .addCircuit(let id, _, let number, _):
            7 << 56 | UInt64(id.rawValue & 0xff_ffff) << 32 | UInt64(number.rawValue)
        case .setEarly(let id, let hop, _, let start):
            8 << 56 | UInt64(hop.rawValue) << 52 | UInt64(id.rawValue & 0xf_ffff) << 32
                | UInt64(start)
        case .setKeys(let id, let hop, _, _, let start):
            9 << 56 | UInt64(hop.rawValue) << 52 | UInt64(id.rawValue & 0xf_ffff) << 32
                | UInt64(start)
        case .sendControl(let id, let hop, let bytes):
            10 << 56 | UInt64(hop.rawValue) << 52 | UInt64(bytes.count) << 32
                | UInt64(id.rawValue)
        case .measure(let id, let hop, let cells, _):
            17 << 56 | UInt64(hop.rawValue) << 52 | UInt64(cells) << 32 | UInt64(id.rawValue)
        case .removeCircuit(let id): 11 << 56 | UInt64(id.rawValue)
        case .addTunnel(let id, _): 12 << 56 | UInt64(id.rawValue)
        case .addInternalTunnel(let id): 19 << 56 | UInt64(id.rawValue)
        case .sendPacket(let id, let bytes):
            20 << 56 | UInt64(bytes.count & 0xff_ffff) << 32 | UInt64(id.rawValue)
        case .removeTunnel(let id): 13 << 56 | UInt64(id.rawValue)
        case .bind(let lease, _, let circuit):
            14 << 56 | UInt64(lease.rawValue & 0xff_ffff) << 32 | UInt64(circuit.rawValue)
        case .setCurrent(let tunnel, let lease):
            15 << 56 | UInt64(tunnel.rawValue & 0xff_ffff) << 32 | UInt64(lease?.rawValue ?? 0)
        case .endLease(let lease): 16 << 56 | UInt64(lease.rawValue)
        case .ping(let id, let series, _):
            22 << 56 | UInt64(series.hop.rawValue) << 52 | UInt64(series.cellCount) << 32
                | UInt64(id.rawValue)
        case .countCells(let id, let step): 18 << 56 | UInt64(step) << 32 | UInt64(id.rawValue)
        case .shape(let id, let plan):
            23 << 56 | UInt64(plan.shape.mode) << 48 | UInt64(plan.shape.slot) << 32
                | UInt64(id.rawValue)
        case .keepSchedule(let id): 24 << 56 | UInt64(id.rawValue)
        case .sendProbe(let id, let bytes):
            21 << 56 | UInt64(bytes.count) << 32 | UInt64(id.rawValue)
        }
    }
}
