import ArgumentParser
import Foundation

/// `umbel-lab bridge`: the process in a cable; started by `impair`, not by people.
struct BridgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bridge",
        abstract: "Carry frames between two interfaces, with faults.",
        shouldDisplay: false
    )

    @Argument(help: "One interface.") var left: String
    @Argument(help: "The other interface.") var right: String
    @Option(help: "The faults, as JSON.") var faults: String

    func run() async throws {
        let faults = try JSONDecoder().decode(LinkFaults.self, from: Data(faults.utf8))
        var bridge = try DelayBridge(left: left, right: right, faults: faults)
        try bridge.run()
    }

    /// The command that carries frames between the port of `host` and `inner`.
    static func command(_ host: Manifest.Host, inner: String) throws -> [String] {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let faults = String(decoding: try encoder.encode(host.faults), as: UTF8.self)
        return [own, "bridge", host.port, inner, "--faults", faults]
    }
}
