import ArgumentParser
import ControlAPI

/// `umbel version`: what this program is.
struct VersionCommand: ParsableCommand {
    /// What the program says of itself, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let version: String
    }

    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Show the version of this program."
    )

    @OptionGroup var format: FormatOptions

    func run() throws {
        let report = Report(version: Version.number)
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print("umbel \(report.version)")
        }
    }
}
