import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import NodeRuntime

/// Makes the key of a body that network.toml lists.
struct BodyKeyOptions: ParsableArguments {
    /// What was made, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let publicKey: String

        enum CodingKeys: String, CodingKey {
            case schema
            case publicKey = "public_key"
        }
    }

    @Option(
        help: ArgumentHelp("Where to write the key; must not exist.", valueName: "file"),
        completion: .file()
    )
    var output: String
    @OptionGroup var format: FormatOptions

    func make() async throws {
        let seed = try await Starting.attempt("key generation") { try KeyFile.create(output) }
        let report = Report(publicKey: Ed25519.SigningKey(seed: seed).publicKey.hex)
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print("public key \(report.publicKey)")
        }
    }
}
