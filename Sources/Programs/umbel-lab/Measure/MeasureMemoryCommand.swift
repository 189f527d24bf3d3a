import ArgumentParser
import Base
import CLinux
import ClientCore
import Simulation

/// `umbel-lab measure memory`: what an idle circuit costs a relay.
struct MeasureMemoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory",
        abstract: "Bytes of memory a relay holds for each circuit that nobody uses."
    )

    @Option(help: "Clients in each run, of which each makes 100 circuits.")
    var clients = 20
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1...200).contains(clients), (1...100).contains(options.runs) else {
            throw ValidationError("--clients is 1 to 200, --runs 1 to 100")
        }
    }

    func run() throws {
        var bytes: [Double] = []
        for seed in 0..<options.runs { bytes.append(try bytesForEach(seed: UInt64(seed))) }
        try Measurement.show(
            [Measurement("idle circuit at a relay", unit: "bytes", bytes)],
            options
        )
    }

    private static let circuitsOfClient = 100

    /// The simulated network did not do what is to be measured.
    private struct SimulationFailure: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// A guard with real clients, whose links bring the CREATEs.
    private func bytesForEach(seed: UInt64) throws -> Double {
        var settings = WorldSettings(seed: seed)
        settings.guardCount = 1
        settings.client.keepsSpare = false
        settings.circuitIdleLimit = .seconds(86_400)
        let world = try World(settings)
        var loads: [IdleCircuits] = []
        for _ in 0..<clients {
            let client = world.addClient()
            let host = client.openTunnel()
            guard world.run(within: .seconds(10), until: { client.isConnected(host) }),
                let load = IdleCircuits(of: client, host)
            else { throw SimulationFailure("a client of the simulated network does not connect") }
            loads.append(load)
        }
        let before = clinux_heap_bytes()
        let standing = loads[0].standingCount
        for index in loads.indices { try loads[index].add(Self.circuitsOfClient) }
        // Answers to CREATE are kept for a minute and a little.
        world.run(for: .seconds(90))
        let count = clients * Self.circuitsOfClient
        guard loads[0].standingCount == standing + count else {
            throw SimulationFailure(
                "the relay keeps \(loads[0].standingCount - standing) circuits of \(count)"
            )
        }
        return (Double(clinux_heap_bytes()) - Double(before)) / Double(count)
    }
}
