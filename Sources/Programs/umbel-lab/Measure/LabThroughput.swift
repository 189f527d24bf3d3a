import Foundation
import HostNetwork

/// iperf3 from a lab's client to its internet host.
struct LabThroughput {
    let lab: MeasuredLab

    /// What one stream of TCP carried.
    struct Stream {
        var bitsPerSecond: Double
        var byteCount: UInt64
    }

    private struct Report: Decodable {
        var end: End

        struct End: Decodable {
            var received: Sum

            private enum CodingKeys: String, CodingKey {
                case received = "sum_received"
            }
        }

        struct Sum: Decodable {
            var bytes: UInt64
            var rate: Double

            private enum CodingKeys: String, CodingKey {
                case bytes
                case rate = "bits_per_second"
            }
        }
    }

    /// Bytes of a packet of ``offer(_:seconds:)``: one cell each.
    private static let packetByteCount = 1_100

    /// Runs iperf3, at the first of the server's ports that takes it: one whose last client was ended
    /// is busy for a while, or ends the next one too.
    private func outcome(_ arguments: [String], seconds: Int) async throws
        -> CommandRunner.Outcome
    {
        let server = try lab.host(.internet)
        let client = try lab.host(.client).name
        guard let address = server.addresses.first, let services = server.services,
            let last = services.throughputPorts.last
        else {
            throw LabError("\(server.name) has no iperf3", why: "its services name no port of one")
        }
        func run(at port: UInt16) async throws -> CommandRunner.Outcome {
            try await lab.outcome(
                client,
                [
                    "iperf3", "-c", "\(address)", "-p", "\(port)", "-t", "\(seconds)", "-J",
                    "--connect-timeout", "3000",
                ] + arguments,
                seconds: UInt64(seconds) + 30
            )
        }
        for port in services.throughputPorts.dropLast() {
            let outcome = try await run(at: port)
            // What came so far as to carry anything is told as it is.
            let refusals = ["server is busy", "unable to connect", "reset by peer"]
            guard outcome.status != 0, refusals.contains(where: outcome.output.contains) else {
                return outcome
            }
        }
        return try await run(at: last)
    }

    /// One stream for `seconds`, to the server or from it.
    ///
    /// - Throws: ``LabError`` with what iperf3 says, where it does not come to its end.
    func stream(seconds: Int, isDown: Bool = false) async throws -> Stream {
        let outcome = try await outcome(isDown ? ["-R"] : [], seconds: seconds)
        do {
            let report = try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
            return Stream(
                bitsPerSecond: report.end.received.rate,
                byteCount: report.end.received.bytes
            )
        } catch { throw failure(outcome) }
    }

    /// Sends UDP for `seconds`, or until its task is cancelled, that makes `megabits` on the line of
    /// the client's guard.
    ///
    /// - Throws: ``LabError`` with what iperf3 says, where it does not come to its end.
    func offer(_ megabits: Double, seconds: Int) async throws {
        let part = Double(Self.packetByteCount) / CableCount.datagramByteCount
        let outcome = try await outcome(
            ["-u", "-l", "\(Self.packetByteCount)", "-b", "\(Int(megabits * 1e6 * part))"],
            seconds: seconds
        )
        guard outcome.status == 0 else { throw failure(outcome) }
    }

    private func failure(_ outcome: CommandRunner.Outcome) -> LabError {
        LabError(
            "iperf3 in lab \(lab.folder.lab) ends with \(outcome.status)",
            why: "\(outcome.output.suffix(300))\(outcome.message)"
        )
    }
}
