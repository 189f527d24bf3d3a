import Base
import Circuits
import Observability
import RelayCore

/// What a relay tells those who watch over it: sums over all circuits and clients, by kinds.
///
/// Nothing in it tells one circuit, client or destination from another. Cells and bytes are rounded
/// down, so that two readings do not show single packets.
struct RelayMetrics: Sendable {
    private static let roundCells: UInt64 = 64
    private static let roundBytes: UInt64 = 1 << 16

    let readings: RelayReadings
    private let process: ProcessReadings
    private let up: TimeSpan
    /// Whether new circuits are taken.
    var isServing = true
    /// Bytes used and given of a quota; `nil` without one.
    var quota: (used: UInt64, limit: UInt64)?
    /// The version of the program.
    var version = ""
    /// Whether it is an exit: only those have counters of one.
    var isExit = false
    /// How the resolver it runs stands; `nil` where it runs none.
    var resolver: ResolverKeeper.State?
    /// Seconds since the directory became valid, and the signatures it has; `nil` before the first.
    var directory: (ageSeconds: UInt64, signatures: Int)?
    /// Seconds the machine's clock is behind the authorities'; `nil` where nobody told.
    var clockOffsetSeconds: Int64?
    /// Connections the kernel keeps for an exit; `nil` where it does not tell.
    var exitFlows: UInt64?
    /// Vouchers, in ticks: earned, handed in, credited, expired; `nil` where nothing is known.
    var ticks: (served: UInt64, deposited: UInt64, credited: UInt64, expired: UInt64)?

    init(_ readings: RelayReadings, process: ProcessReadings, up: TimeSpan) {
        self.readings = readings
        self.process = process
        self.up = up
    }

    /// All of it as text.
    var text: String {
        var text = PrometheusText()
        addTraffic(to: &text)
        addCircuits(to: &text)
        addMixing(to: &text)
        if isExit { addExit(to: &text) }
        addNode(to: &text)
        return text.text
    }

    /// One line for the log, once an hour.
    var heartbeat: String {
        let counters = readings.shards.counters
        let control = readings.control.counters
        let refused =
            control.busyCreates + control.failedCreates + control.replayedCreates
        return "up \(up.nanoseconds / 3_600_000_000_000) h,"
            + " \(readings.shards.circuits) circuits on \(readings.control.links) links,"
            + " \(readings.sentBytes / 1_000_000) MB sent,"
            + " \(readings.receivedBytes / 1_000_000) MB received,"
            + " handshakes \(control.circuits) taken and \(refused) refused,"
            + " \(counters.quotaKills) circuits ended for memory,"
            + " \(process.residentBytes >> 20) MiB of memory"
            + (ticks.map { ", \($0.served) ticks earned" } ?? "")
    }

    /// A count of cells as it is told.
    func cells(_ count: UInt64) -> UInt64 {
        count / Self.roundCells * Self.roundCells
    }

    private func bytes(_ count: UInt64) -> UInt64 {
        count / Self.roundBytes * Self.roundBytes
    }

    private func addTraffic(to text: inout PrometheusText) {
        let counters = readings.shards.counters
        text.add(
            .counter,
            "umbel_cells_total",
            "Cells carried, by direction; forward is towards exits. In steps of 64.",
            [
                .init(["direction": "forward", "result": "passed"], cells(counters.forwardCells)),
                .init(
                    ["direction": "forward", "result": "delivered"],
                    cells(counters.deliveredCells)
                ),
                .init(
                    ["direction": "backward", "result": "passed"],
                    cells(counters.backwardCells)
                ),
            ]
        )
        let drops = counters.drops
        text.add(
            .counter,
            "umbel_cells_dropped_total",
            "Cells dropped, by reason.",
            [
                .init(["reason": "replay"], drops[RelayPath.Drop.replayed.rawValue]),
                .init(["reason": "auth"], drops[RelayPath.Drop.forged.rawValue]),
                .init(["reason": "malformed"], drops[RelayPath.Drop.malformed.rawValue]),
                .init(
                    ["reason": "queue"],
                    counters.shedCells + counters.overflow + counters.unkeptCells
                ),
                .init(["reason": "expired"], counters.lateCells),
                .init(["reason": "unpaid"], counters.unpaidCells),
                .init(["reason": "unknown_circuit"], counters.unknownCircuit),
            ]
        )
        text.add(
            .counter,
            "umbel_cells_marked_total",
            "Cells that told their senders of a long queue.",
            [.init(cells(counters.markedCells))]
        )
        text.add(
            .counter,
            "umbel_traffic_bytes_total",
            "Bytes on the line, headers of UDP and IP included. In steps of 65536.",
            [
                .init(["direction": "sent"], bytes(readings.sentBytes)),
                .init(["direction": "received"], bytes(readings.receivedBytes)),
            ]
        )
        text.add(
            .gauge,
            "umbel_queue_bytes",
            "Bytes of cells and packets that wait.",
            [.init(readings.shards.waitingBytes)]
        )
        text.add(
            .counter,
            "umbel_quota_kills_total",
            "Circuits ended because too much waited.",
            [.init(counters.quotaKills)]
        )
    }

    private func addCircuits(to text: inout PrometheusText) {
        let control = readings.control.counters
        text.add(
            .gauge,
            "umbel_circuits",
            "Circuits, by state.",
            [
                .init(["state": "open"], readings.control.circuits),
                .init(
                    ["state": "pending"],
                    max(0, readings.shards.circuits - readings.control.circuits)
                ),
            ]
        )
        text.add(.gauge, "umbel_links", "Links to neighbours.", [.init(readings.control.links)])
        text.add(
            .counter,
            "umbel_handshakes_total",
            "Circuit handshakes, by result.",
            [
                .init(["result": "ok"], control.circuits),
                .init(["result": "failed"], control.failedCreates),
                .init(["result": "replayed"], control.replayedCreates),
                .init(["result": "busy"], control.busyCreates),
            ]
        )
        text.add(
            .counter,
            "umbel_dos_refused_total",
            "Requests beyond a bound, by kind.",
            [
                .init(["kind": "create"], control.busyCreates),
                .init(["kind": "violation"], control.violations),
                .init(["kind": "mint"], control.busyMintRequests),
            ]
        )
        text.add(
            .counter,
            "umbel_extends_failed_total",
            "Circuits that could not be led on.",
            [.init(control.failedExtends)]
        )
    }

    private func addExit(to text: inout PrometheusText) {
        let counters = readings.shards.counters
        text.add(
            .counter,
            "umbel_exit_policy_refused_total",
            "Packets the exit's policy refused.",
            [.init(counters.policyRefused)]
        )
        text.add(
            .counter,
            "umbel_exit_packets_total",
            "Packets, by direction. In steps of 64.",
            [
                .init(["direction": "forward"], cells(counters.exitPackets)),
                .init(["direction": "backward"], cells(counters.returnPackets)),
            ]
        )
        text.add(
            .gauge,
            "umbel_exit_leases",
            "Addresses leased to circuits.",
            [.init(readings.control.leases)]
        )
        if let exitFlows {
            text.add(
                .gauge,
                "umbel_exit_flows",
                "Connections the kernel keeps. In steps of 16.",
                [.init(exitFlows / 16 * 16)]
            )
        }
        guard let resolver else { return }
        text.add(
            .gauge,
            "umbel_exit_resolver_up",
            "1 where the exit's resolver answers, else 0.",
            [.init(resolver.isAnswering ? 1 : 0)]
        )
        text.add(
            .counter,
            "umbel_exit_dns_errors_total",
            "Failures of the exit's resolver, by kind.",
            [
                .init(["kind": "ended"], resolver.endings),
                .init(["kind": "silent"], resolver.silences),
            ]
        )
    }

    private func addNode(to text: inout PrometheusText) {
        text.add(
            .gauge,
            "umbel_serving",
            "1 where new circuits are taken, else 0.",
            [.init(isServing ? 1 : 0)]
        )
        if let quota {
            text.add(
                .gauge,
                "umbel_quota_used_bytes",
                "Bytes carried in the quota's period.",
                [.init(bytes(quota.used))]
            )
            text.add(
                .gauge,
                "umbel_quota_limit_bytes",
                "Bytes the quota has.",
                [.init(quota.limit)]
            )
        }
        if let directory {
            text.add(
                .gauge,
                "umbel_directory_age_seconds",
                "Seconds since the directory became valid.",
                [.init(directory.ageSeconds)]
            )
            text.add(
                .gauge,
                "umbel_directory_signatures",
                "Signatures the directory has.",
                [.init(directory.signatures)]
            )
        }
        if let clockOffsetSeconds {
            text.add(
                .gauge,
                "umbel_clock_offset_seconds",
                "Seconds this machine's clock is behind the authorities'.",
                [.init(clockOffsetSeconds)]
            )
        }
        if let ticks {
            text.add(
                .counter,
                "umbel_tickets_total",
                "Ticks of vouchers, by what became of them.",
                [
                    .init(["event": "served"], ticks.served),
                    .init(["event": "deposited"], ticks.deposited),
                    .init(["event": "credited"], ticks.credited),
                    .init(["event": "expired"], ticks.expired),
                ]
            )
        }
        text.add(.gauge, "umbel_build_info", "The program.", [.init(["version": version], 1)])
        text.add(
            .gauge,
            "umbel_uptime_seconds",
            "Seconds since the relay started.",
            [.init(up.nanoseconds / 1_000_000_000)]
        )
        text.add(
            .gauge,
            "process_resident_memory_bytes",
            "Resident memory.",
            [.init(process.residentBytes)]
        )
        text.add(
            .counter,
            "process_cpu_seconds_total",
            "Processor time, of user and system.",
            [.init(process.processorSeconds)]
        )
        text.add(.gauge, "process_open_fds", "Open descriptors.", [.init(process.openDescriptors)])
    }
}
