import ArgumentParser
import Foundation

/// `umbel-lab status`: hosts, roles, processes, addresses, and how each does.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show every host: what runs there and how it does."
    )

    @OptionGroup var lab: LabOptions
    @Flag(help: "One JSON object instead of a table.") var json = false

    /// How one program does.
    private enum ProgramState: String, Encodable {
        /// Runs and answers.
        case running
        /// Runs, but does not answer (yet).
        case starting
        /// Held by a signal.
        case stalled
        /// Ended.
        case stopped
    }

    private struct Report: Encodable {
        struct Program: Encodable {
            var title: String
            var pid: Int32?
            var state: ProgramState
            var log: String
            var socket: String?
        }

        struct Host: Encodable {
            var name: String
            var role: Topology.Role
            var country: String?
            var exit: Bool
            var namespace: String
            var addresses: [String]
            var state: String
            var faults: String
            var programs: [Program]
        }

        var schema = 1
        var lab: String
        var phase: Manifest.Phase
        var mode: Topology.Mode
        var topology: String
        var hosts: [Host]
    }

    func run() async throws {
        let manifest = try lab.folder().existing()
        var hosts: [Report.Host] = []
        for host in manifest.hosts {
            var programs: [Report.Program] = []
            for program in host.programs + [host.delayBridge].compactMap(\.self) {
                programs.append(
                    Report.Program(
                        title: program.title,
                        pid: program.process.flatMap { $0.state == .gone ? nil : $0.pid },
                        state: try await state(of: program, on: host),
                        log: program.log,
                        socket: program.socket
                    )
                )
            }
            let own = programs.prefix(host.programs.count)
            let worst = own.map(\.state).first { $0 != .running }
            hosts.append(
                Report.Host(
                    name: host.name,
                    role: host.role,
                    country: host.country,
                    exit: host.isExit,
                    namespace: host.namespace,
                    addresses: host.addresses,
                    state: own.isEmpty ? "idle" : (worst ?? .running).rawValue,
                    faults: host.faults.description,
                    programs: programs
                )
            )
        }
        let report = Report(
            lab: manifest.lab,
            phase: manifest.phase,
            mode: manifest.mode,
            topology: manifest.topology,
            hosts: hosts
        )
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            print(Self.table(report))
        }
    }

    private func state(
        of program: Manifest.Program,
        on host: Manifest.Host
    ) async throws -> ProgramState {
        switch program.process?.state ?? .gone {
        case .gone: .stopped
        case .stopped: .stalled
        case .running: try await ProgramStarter.isReady(program, of: host) ? .running : .starting
        }
    }

    private static func table(_ report: Report) -> String {
        var rows = [["HOST", "ROLE", "CC", "STATE", "PID", "FAULTS", "ADDRESSES"]]
        for host in report.hosts {
            let pids = host.programs.compactMap(\.pid).map(String.init)
            rows.append(
                [
                    host.name, host.exit ? "exit" : host.role.rawValue, host.country ?? "-",
                    host.state, pids.isEmpty ? "-" : pids.joined(separator: ","), host.faults,
                    host.addresses.joined(separator: " "),
                ]
            )
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
                .joined(separator: "  ").trimmingCharacters(in: .whitespaces)
        }
        let head = "lab \(report.lab): \(report.phase.rawValue), mode \(report.mode.rawValue)"
        return ([head] + lines).joined(separator: "\n")
    }
}
