import ArgumentParser

/// `umbel completions`: a script by which a shell completes this program's commands.
struct CompletionsCommand: ParsableCommand {
    /// The shells there are scripts for.
    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash, zsh, fish
    }

    static let configuration = CommandConfiguration(
        commandName: "completions",
        abstract: "Print the completion script for a shell.",
        discussion: "For bash: umbel completions bash > /etc/bash_completion.d/umbel"
    )

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() {
        Output.print(
            Umbel.completionScript(for: CompletionShell(rawValue: shell.rawValue) ?? .bash)
        )
    }
}
