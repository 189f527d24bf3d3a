import Base
import Foundation
import HostNetwork

/// A lab that a measurement builds for itself, and takes away.
struct MeasuredLab {
    /// The topology it is built from.
    var topology: Topology
    /// The topology's file.
    var file: String
    let folder: LabFolder
    let progress: Progress

    /// Reads `file`; the lab is not built yet.
    ///
    /// - Throws: ``LabError`` where the file is no topology, or a lab of this name is there.
    init(file: String, options: LabOptions, suffix: String, progress: Progress) throws {
        var options = options
        options.name += suffix
        folder = try options.folder()
        guard try folder.manifest() == nil else {
            throw LabError(
                "lab `\(folder.lab)` is already there",
                why: "a measurement builds its own",
                hint: "umbel-lab down --name \(folder.lab)"
            )
        }
        self.file = URL(fileURLWithPath: file).standardizedFileURL.path
        topology = try TopologyReader.read(file: file)
        self.progress = progress
    }

    /// Sets what the authorities put into the consensus, over what the file says.
    mutating func set(_ section: String, _ key: String, _ value: String) {
        let setting = Topology.Setting(key: key, value: value)
        guard let index = topology.parameters.firstIndex(where: { $0.name == section }) else {
            topology.parameters.append(.init(name: section, values: [setting]))
            return
        }
        topology.parameters[index].values.removeAll { $0.key == key }
        topology.parameters[index].values.append(setting)
    }

    /// Builds the lab, runs `body`, and takes the lab away, whatever comes of it.
    func run<Result>(_ body: () async throws -> Result) async throws -> Result {
        let builder = LabBuilder(
            topology: topology,
            file: file,
            folder: folder,
            progress: progress
        )
        let result: Result
        do {
            do {
                let lock = try folder.lock()
                defer { lock.release() }
                try await builder.build()
            }
            result = try await body()
        } catch {
            try? await takeDown()
            throw error
        }
        try await takeDown()
        return result
    }

    private func takeDown() async throws {
        try await LabRemoval(folder: folder).removeAll(progress: progress)
    }

    /// Runs a program on a host.
    func outcome(_ host: String, _ command: [String], seconds: UInt64) async throws
        -> CommandRunner.Outcome
    {
        let manifest = try folder.existing()
        let index = try manifest.index(of: host)
        return try await CommandRunner(namespace: manifest.hosts[index].namespace).outcome(
            of: command,
            timeout: .seconds(seconds)
        )
    }

    /// The first host of this role.
    ///
    /// - Throws: ``LabError`` where the topology has none.
    func host(_ role: Topology.Role) throws(LabError) -> Topology.Host {
        guard let host = topology.hosts.first(where: { $0.role == role }) else {
            throw LabError("\(file) has no \(role.rawValue)", why: "there is nothing to measure")
        }
        return host
    }
}
