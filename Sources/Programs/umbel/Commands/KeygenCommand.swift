import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import NodeRuntime

/// `umbel keygen`: the keys of a relay.
struct KeygenCommand: AsyncParsableCommand {
    /// Whose keys there are to make.
    enum Role: String, CaseIterable, ExpressibleByArgument {
        case relay
    }

    /// What was made, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let identity: String
    }

    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make the keys of a relay in its state folder.",
        discussion: "Keys that are there are never overwritten."
    )

    @Option(help: "Whose keys.")
    var role = Role.relay
    @Option(
        help: ArgumentHelp("The state folder; made if it is missing.", valueName: "folder"),
        completion: .directory
    )
    var state: String
    @OptionGroup var format: FormatOptions

    func run() async throws {
        try await Starting.attempt("key generation") {
            try RelayKeys.create(folder: state)
        }
        let keys = try RelayKeys(folder: state)
        let report = Report(identity: keys.identity.publicKey.hex)
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print("identity \(report.identity)")
        }
    }
}
