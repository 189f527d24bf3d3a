import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import NodeRuntime

/// `umbel keygen`: the keys of a relay, or that of the family of one operator's relays.
struct KeygenCommand: AsyncParsableCommand {
    /// Whose keys there are to make.
    enum Role: String, CaseIterable, ExpressibleByArgument {
        case relay, family
    }

    /// What was made, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let identity: String
    }

    /// What was made for a family, as JSON.
    struct FamilyReport: Encodable {
        let schema = reportSchema
        let family: String
    }

    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make the keys of a relay in its state folder, or the key of a family of relays.",
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
        switch role {
        case .relay: try await makeRelayKeys()
        case .family: try await makeFamilyKey()
        }
    }

    private func makeFamilyKey() async throws {
        let key = try await Starting.attempt("key generation") {
            try FamilyKey.create(folder: state)
        }
        let report = FamilyReport(family: key.publicKey.hex)
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print("family \(report.family)")
        }
    }

    private func makeRelayKeys() async throws {
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
