import ArgumentParser
import ControlAPI
import CryptoPrimitives

/// `umbel version`: what this program is.
struct VersionCommand: ParsableCommand {
    /// What the program says of itself, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let version: String
        let aead: String
    }

    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Show the version, and what seals packets on this machine."
    )

    @OptionGroup var format: FormatOptions

    func run() throws {
        let report = Report(
            version: Version.number,
            aead: AEADProvider.selected.versionDescription
        )
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print("umbel \(report.version)\npackets sealed by \(report.aead)")
        }
    }
}
