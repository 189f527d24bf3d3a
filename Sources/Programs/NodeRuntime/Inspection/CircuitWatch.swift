import Base
import Circuits
import ClientCore
import ControlAPI
import EventLoop
import Wire

/// Who waits for what circuits say, and who wants to be told how they stand.
struct CircuitWatch {
    private var series: [UInt64: CheckedContinuation<EchoSeries.Outcome?, Never>] = [:]
    private var reports: [UInt64: Waiting] = [:]
    private var readers: [UInt64: AsyncStream<StateUpdate>.Continuation] = [:]
    private var replacements: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    private let ring: EventRing

    private struct Waiting {
        let circuit: CircuitID
        var reports: [HopReport?] = [nil, nil, nil]
        let continuation: CheckedContinuation<[HopReport?], Never>
    }

    /// Notes in `ring` what happens to circuits.
    init(ring: EventRing) {
        self.ring = ring
    }

    // MARK: Echoes and reports

    mutating func wait(
        _ token: UInt64,
        _ continuation: CheckedContinuation<EchoSeries.Outcome?, Never>
    ) {
        series[token] = continuation
    }

    mutating func finish(_ token: UInt64, _ outcome: EchoSeries.Outcome?) {
        series.removeValue(forKey: token)?.resume(returning: outcome)
    }

    mutating func wait(
        _ token: UInt64,
        for circuit: CircuitID,
        _ continuation: CheckedContinuation<[HopReport?], Never>
    ) {
        reports[token] = Waiting(circuit: circuit, continuation: continuation)
    }

    mutating func note(_ report: HopReport, of hop: HopIndex, _ circuit: CircuitID) {
        for (token, waiting) in reports where waiting.circuit == circuit {
            reports[token]?.reports[hop.offset] = report
            if reports[token]?.reports.contains(where: { $0 == nil }) == false { giveUp(token) }
        }
    }

    /// Hands over the reports that have come.
    mutating func giveUp(_ token: UInt64) {
        guard let waiting = reports.removeValue(forKey: token) else { return }
        waiting.continuation.resume(returning: waiting.reports)
    }

    // MARK: Replacement

    mutating func waitForCarrier(_ token: UInt64, _ continuation: CheckedContinuation<Bool, Never>)
    {
        replacements[token] = continuation
    }

    mutating func giveUpCarrier(_ token: UInt64) {
        replacements.removeValue(forKey: token)?.resume(returning: false)
    }

    // MARK: Events

    mutating func note(_ notice: CircuitNotice) {
        let name = "circuit \(notice.id.rawValue)"
        let path = notice.hops.joined(separator: " > ")
        let (kind, text): (EventReport.Kind, String) =
            switch notice.change {
            case .begun(let cause): (.begun, "\(name) begun over \(path): \(cause.text)")
            case .ready(let time):
                (.ready, "\(name) stands after \(Self.tenths(time.milliseconds)) ms")
            case .carrying(let cause): (.carrying, "\(name) carries packets: \(cause.text)")
            case .ended(let reason): (.ended, "\(name) is gone: \(reason)")
            }
        ring.note(
            level: "info",
            kind: kind,
            circuit: notice.id.rawValue,
            hops: notice.hops,
            text: text
        )
        guard kind == .carrying else { return }
        let waiting = replacements
        replacements = [:]
        for continuation in waiting.values { continuation.resume(returning: true) }
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    // MARK: Readers

    var hasReaders: Bool { !readers.isEmpty }

    mutating func add(_ reader: AsyncStream<StateUpdate>.Continuation, as token: UInt64) {
        readers[token] = reader
    }

    mutating func removeReader(_ token: UInt64) {
        readers[token] = nil
    }

    func tell(_ update: StateUpdate) {
        for reader in readers.values { reader.yield(update) }
    }
}

extension CircuitCause {
    /// The cause in words.
    var text: String {
        switch self {
        case .first: "the tunnel had none"
        case .spare: "a spare to the same exit by another middle"
        case .replacement(let old, let reason): "in place of circuit \(old.rawValue): \(reason)"
        case .rotation: "new flows begin on a new lease"
        case .retry(let reason): "tried again: \(reason)"
        case .slowGuard: "beside one whose guard takes its time"
        case .doubt: "another exit, should the one in use be dead"
        case .measurement: "to measure an exit"
        case .errands: "for questions to mints"
        }
    }
}

extension HopStat {
    /// A hop's report as people look at it.
    init(_ report: HopReport) {
        self.init(
            paidTicks: report.paidTicks,
            forwardIn: report.forwardIn,
            forwardOut: report.forwardOut,
            backwardIn: report.backwardIn,
            backwardOut: report.backwardOut,
            queueDrops: report.queueDrops,
            queueDelay: Double(report.queueDelay) / 10
        )
    }
}
