import ArgumentParser
import Foundation

/// `umbel-lab measure`: how fast the cores are, fed from memory: no sockets, no TUN; what a client's
/// user waits for; and what pay costs and comes to in labs.
struct MeasureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Measure the cores, fed from memory, or clients and pay in labs.",
        subcommands: [
            MeasurePathCommand.self, MeasureHandshakesCommand.self, MeasureMemoryCommand.self,
            MeasureDirectoryCommand.self, MeasurePaymentsCommand.self,
            MeasureLinkingCommand.self, MeasureClientCommand.self,
            MeasurePayThroughputCommand.self, MeasureConservationCommand.self,
        ]
    )
}
