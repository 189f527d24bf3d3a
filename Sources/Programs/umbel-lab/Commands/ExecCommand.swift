import ArgumentParser
import HostNetwork

/// `umbel-lab exec HOST -- CMD…`: becomes CMD inside the host's namespace.
struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run a program on a host; its exit status is this command's."
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The host.") var host: String
    @Argument(parsing: .postTerminator, help: "The program and its arguments, after `--`.")
    var command: [String]

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("nothing to run after `--`") }
    }

    func run() async throws {
        let manifest = try lab.folder().existing()
        let host = manifest.hosts[try manifest.index(of: host)]
        try DetachedProcess.become(
            try CommandRunner(namespace: host.namespace).command(for: command)
        )
    }
}
