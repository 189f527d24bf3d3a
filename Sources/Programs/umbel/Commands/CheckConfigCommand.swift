import ArgumentParser
import FoundationEssentials
import NodeConfiguration

/// `umbel check-config`: whether a configuration file is one.
struct CheckConfigCommand: ParsableCommand {
    /// The kinds of files there are.
    enum Role: String, CaseIterable, ExpressibleByArgument {
        case client, relay, authority, mint, network, parameters
    }

    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check a configuration file and the files it names.",
        discussion: "Every problem is listed with its line and a hint; the exit status is then 78."
    )

    @Argument(help: "The file.", completion: .file(extensions: ["toml"]))
    var file: String
    @Option(help: "What the file is for. Default: what its name begins with.")
    var role: Role?
    @Flag(help: "Do not look at the files it names.")
    var alone = false

    func run() throws {
        let role = try role ?? Self.role(of: file)
        let environment = ProcessInfo.processInfo.environment
        let problems: [ConfigurationProblem]
        switch role {
        case .client:
            problems = try ClientConfiguration(
                file: file,
                environment: environment,
                places: .own
            ).fileProblems()
        case .relay:
            problems = try RelayConfiguration(file: file, environment: environment).fileProblems()
        case .authority:
            problems = try AuthorityConfiguration(file: file, environment: environment)
                .fileProblems()
        case .mint:
            problems = try MintConfiguration(file: file, environment: environment).fileProblems()
        case .network:
            problems = []
            _ = try NetworkConfiguration(file: file)
        case .parameters:
            problems = []
            _ = try ParametersConfiguration(file: file, environment: environment)
        }
        guard alone || problems.isEmpty else { throw ConfigurationError(problems) }
        Output.print("\(file): good, as \(role.rawValue)")
    }

    private static func role(of file: String) throws -> Role {
        let name = file.split(separator: "/").last ?? ""
        if let role = Role.allCases.first(where: { name.hasPrefix($0.rawValue) }) { return role }
        throw ValidationError("The name of \(file) does not tell what it is for; add --role.")
    }
}
