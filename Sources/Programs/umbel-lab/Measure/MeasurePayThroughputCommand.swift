import ArgumentParser
import Foundation
import HostNetwork

/// `umbel-lab measure pay-throughput`: what a lab carries with and without pay, in turn.
struct MeasurePayThroughputCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pay-throughput",
        abstract: "Gbit/s of TCP through a lab that pays and through one that does not, in turn.",
        discussion: """
            Builds the topology twice, side by side, and takes both away. What one carries while the \
            other stands still is measured in turn, so that whatever else the machine does meets both. \
            Beside it stands the processor time of each lab's programs for a GiB: all of them, mints \
            too, share this machine. Needs root and iperf3.
            """
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file = "Topology/lab.yaml"
    @Option(help: "Seconds of each run.")
    var seconds = 3
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1...60).contains(seconds), (1...100).contains(options.runs) else {
            throw ValidationError("--seconds is 1 to 60, --runs 1 to 100")
        }
    }

    func run() async throws {
        let progress = Progress()
        var paid = try MeasuredLab(file: file, options: lab, suffix: "-pay", progress: progress)
        var free = try MeasuredLab(file: file, options: lab, suffix: "-free", progress: progress)
        paid.topology.payments = .on
        free.topology.payments = .off
        let (payer, other) = (paid, free)
        let measurements = try await payer.run {
            try await other.run { try await measure(paid: payer, free: other, progress) }
        }
        try Measurement.show(measurements, options)
    }

    private func measure(
        paid: MeasuredLab,
        free: MeasuredLab,
        _ progress: Progress
    ) async throws -> [Measurement] {
        var measurements: [Measurement] = []
        try await bringToPay(paid)
        progress.say("\(paid.folder.lab) pays")
        let before = try await payTraffic(of: paid)
        var carried: UInt64 = 0
        for isDown in [false, true] {
            var rates: [[Double]] = [[], []]
            var efforts: [[LabEffort]] = [[], []]
            // One first, of which nothing is kept: vouchers are bought, queues find their length.
            for run in 0...options.runs {
                // Whoever goes first in one run goes second in the next.
                for isPaid in run.isMultiple(of: 2) ? [true, false] : [false, true] {
                    let lab = isPaid ? paid : free
                    let (stream, effort) = try await LabEffort.perGibibyte(of: lab) {
                        try await LabThroughput(lab: lab).stream(seconds: seconds, isDown: isDown)
                    }
                    if isPaid { carried += stream.byteCount }
                    guard run > 0 else { continue }
                    rates[isPaid ? 1 : 0].append(stream.bitsPerSecond / 1e9)
                    efforts[isPaid ? 1 : 0].append(effort)
                }
            }
            let way = isDown ? "down" : "up"
            progress.say("\(way): \(options.runs) runs of \(seconds) s each")
            measurements.append(Measurement("unpaid, \(way)", unit: "Gbit/s", rates[0]))
            measurements.append(Measurement("paid, \(way)", unit: "Gbit/s", rates[1]))
            measurements.append(
                Measurement(
                    "paid / unpaid, \(way)",
                    unit: "",
                    zip(rates[1], rates[0]).map { $0 / $1 }
                )
            )
            measurements += Self.compare(paid: efforts[1], free: efforts[0], way)
        }
        let after = try await payTraffic(of: paid)
        let mebibytes = max(1, Double(carried) / 1_048_576)
        let (messages, bytes) = (
            after.messages - before.messages, after.byteCount - before.byteCount
        )
        measurements.append(
            Measurement("payment, messages", unit: "per MiB", [Double(messages) / mebibytes])
        )
        measurements.append(
            Measurement("payment, bytes", unit: "per MiB", [Double(bytes) / mebibytes])
        )
        let ticks = Double(after.spent) - Double(before.spent)
        measurements.append(Measurement("ticks paid", unit: "per MiB", [ticks / mebibytes]))
        guard ticks >= mebibytes else {
            throw LabError(
                "what was carried was not paid for",
                why: "\(Int(ticks)) ticks were paid for \(Int(mebibytes)) MiB"
            )
        }
        return measurements
    }

    private static func compare(
        paid: [LabEffort],
        free: [LabEffort],
        _ way: String
    ) -> [Measurement] {
        func rows(_ name: String, _ part: (LabEffort) -> Double) -> [Measurement] {
            [("unpaid", free), ("paid", paid)].map { kind, efforts in
                Measurement(
                    "processor, \(name), \(kind), \(way)",
                    unit: "s per GiB",
                    efforts.map(part)
                )
            }
        }
        return rows("client", \.client) + rows("relays", \.relays)
            + rows("authorities and mints", \.others) + [
                Measurement(
                    "processor, unpaid / paid, \(way)",
                    unit: "",
                    zip(free, paid).map { $0.sum / $1.sum }
                )
            ]
    }

    /// Reconnects the client until it pays: a circuit keeps what was in force when it was made, and
    /// the lab's first one may be older than the mints' keys.
    private func bringToPay(_ lab: MeasuredLab) async throws {
        for _ in 0..<20 {
            let before = try await payTraffic(of: lab).spent
            _ = try await LabThroughput(lab: lab).stream(seconds: 1)
            if try await payTraffic(of: lab).spent > before { return }
            let manifest = try lab.folder.existing()
            let (client, socket) = (try lab.host(.client).name, try LabClient(lab: lab).socket)
            guard let umbel = manifest.umbel else { break }
            _ = try await lab.outcome(
                client,
                [umbel, "reconnect", "--wait", "--socket", socket],
                seconds: 60
            )
        }
        throw LabError("the client of lab \(lab.folder.lab) does not pay", why: "nothing was spent")
    }

    /// What a client said and heard of pay since it was started.
    private struct PayTraffic: Decodable {
        var messages: UInt64
        var byteCount: UInt64
        /// Ticks.
        var spent: UInt64

        private enum CodingKeys: String, CodingKey {
            case spent
            case messages = "pay_messages"
            case byteCount = "pay_bytes"
        }
    }

    private func payTraffic(of lab: MeasuredLab) async throws -> PayTraffic {
        let (client, socket) = (try lab.host(.client).name, try LabClient(lab: lab).socket)
        return try ControlProbe(socket: socket)
            .report("/v1/tickets", of: client, subject: "what it paid")
    }
}
