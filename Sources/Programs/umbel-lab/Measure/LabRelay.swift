import Foundation
import HostNetwork

/// A relay of a lab that a measurement built: asked, told and weighed.
struct LabRelay {
    let lab: MeasuredLab
    let name: String

    private var program: Manifest.Program {
        get throws {
            let manifest = try lab.folder.existing()
            let programs = manifest.hosts[try manifest.index(of: name)].programs
            guard let program = programs.first(where: { $0.title == "relay" }) else {
                throw LabError("\(name) is no relay", why: "it runs none")
            }
            return program
        }
    }

    private var process: ProcessIdentity {
        get throws {
            guard let process = try program.process else {
                throw LabError("\(name) does not run", why: "it was never started")
            }
            return process
        }
    }

    /// The guard of the machine's circuit in use at the lab's client.
    static func guardRelay(of lab: MeasuredLab) async throws -> LabRelay {
        for _ in 0..<100 {
            let circuits = try LabClient(lab: lab).circuits()
            if let used = circuits.first(where: { $0.isOfMachine }), let first = used.hops.first {
                return LabRelay(lab: lab, name: first.nickname)
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw LabError("the client of \(lab.folder.lab) has no circuit", why: "none is in use")
    }

    /// What it says of itself.
    func reading() throws -> RelayReading {
        guard let socket = try program.socket else {
            throw LabError("\(name) does not tell how it is", why: "it has no socket")
        }
        return try ControlProbe(socket: socket)
            .report("/v1/status", of: name, subject: "how it is")
    }

    /// What it takes of the machine.
    func weight() throws -> ProcessWeight {
        try ProcessWeight(process.pid)
    }

    /// Sets its rate both ways, in Mbit/s, and returns once it is in force; `nil` for none.
    func setRate(_ megabits: Int?) async throws {
        let file = URL(fileURLWithPath: "\(lab.folder.host(name))/relay.toml")
        let text = try String(contentsOf: file, encoding: .utf8)
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        lines.removeAll { $0.hasPrefix("rate = ") }
        guard let table = lines.firstIndex(of: "[limits]") else {
            throw LabError("\(file.path) has no table of limits", why: "a lab writes one")
        }
        if let megabits { lines.insert("rate = \"\(megabits) Mbit/s\"", at: table + 1) }
        try Data(lines.joined(separator: "\n").utf8).write(to: file)
        try process.send(SIGHUP)
        for _ in 0..<300 {
            if try reading().line?.limitSent == megabits.map({ Double($0) * 1e6 }) { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw LabError("\(name) does not take its new rate", why: "it was told by SIGHUP")
    }
}

/// The client of a lab that a measurement built.
struct LabClient {
    let lab: MeasuredLab
    /// Its host's name; `nil` for the lab's first client.
    var name: String?

    /// A circuit, as far as measurements need it.
    struct Circuit: Decodable {
        var state: String
        var hops: [Hop]
        var isolation: String

        struct Hop: Decodable {
            var nickname: String
        }

        /// Whether new flows of the machine begin on it.
        var isOfMachine: Bool { state == "active" && isolation == "machine" }
    }

    private struct Circuits: Decodable {
        var circuits: [Circuit]
    }

    /// The client's control socket.
    var socket: String {
        get throws {
            let client = try name ?? lab.host(.client).name
            let manifest = try lab.folder.existing()
            let programs = manifest.hosts[try manifest.index(of: client)].programs
            guard let socket = programs.first?.socket else {
                throw LabError("\(client) cannot be asked", why: "it has no socket")
            }
            return socket
        }
    }

    /// Its circuits.
    func circuits() throws -> [Circuit] {
        let report: Circuits = try ControlProbe(socket: try socket)
            .report("/v1/circuits", of: name ?? "the client", subject: "its circuits")
        return report.circuits
    }

    /// Runs a program at the client.
    func outcome(_ command: [String], seconds: Int) async throws -> CommandRunner.Outcome {
        try await lab.outcome(try name ?? lab.host(.client).name, command, seconds: UInt64(seconds))
    }
}
