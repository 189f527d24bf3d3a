import ArgumentParser
import Foundation

/// `umbel-lab up FILE`: builds the lab and returns once the client is connected.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Build the lab FILE describes and start everything in it."
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file: String
    @Option(help: "How the client's circuits behave: fast, padded or mix.")
    var mode: Topology.Mode?
    @Option(help: "Whether relays carry only what is paid for: on or off.")
    var payments: Topology.Payments?

    func run() async throws {
        let folder = try lab.folder()
        var topology = try TopologyReader.read(file: file)
        topology.mode = mode ?? topology.mode
        topology.payments = payments ?? topology.payments
        guard topology.payments == .off || topology.hosts.contains(where: \.isMint) else {
            throw LabError("payments need mints", why: "no host of \(file) has `mint: true`")
        }
        if try folder.manifest() != nil {
            throw LabError(
                "lab `\(lab.name)` is already there",
                why: "a lab is built once, from nothing",
                hint: "umbel-lab down --name \(lab.name)"
            )
        }
        let lock = try folder.lock()
        defer { lock.release() }
        let progress = Progress()
        let builder = LabBuilder(
            topology: topology,
            file: URL(fileURLWithPath: file).standardizedFileURL.path,
            folder: folder,
            progress: progress
        )
        do {
            try await builder.build()
        } catch {
            // Nothing was made where nothing was written down.
            if try folder.manifest() == nil { try folder.remove() }
            throw error
        }
        progress.say("lab `\(lab.name)` is up")
    }
}

extension Topology.Mode: ExpressibleByArgument {}
extension Topology.Payments: ExpressibleByArgument {}
