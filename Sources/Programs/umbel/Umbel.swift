import ArgumentParser
import ControlAPI
import NodeConfiguration

/// The program: every role and every question is a subcommand.
@main
struct Umbel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "umbel",
        abstract:
            "An onion-routed VPN: traffic takes three relays, and none of them sees both ends.",
        discussion: """
            Client commands ask the daemon over its control socket; data goes to stdout, progress \
            and errors to stderr. Exit status: 0 done, 1 failed, 2 not connected, 64 usage, \
            69 no daemon, 75 try again, 77 not allowed, 78 configuration.
            """,
        version: "umbel \(Version.number)",
        subcommands: [
            UpCommand.self, DownCommand.self, ReconnectCommand.self, LockdownCommand.self,
            LoginCommand.self, RunCommand.self, ProxyCommand.self, StatusCommand.self,
            DoctorCommand.self, NetcheckCommand.self, LeakTestCommand.self, LogsCommand.self,
            CircuitsCommand.self, PingCommand.self, TraceCommand.self, ExplainCommand.self,
            TopCommand.self, InspectorCommand.self, InspectCommand.self, RelaysCommand.self,
            ExitsCommand.self,
            AccountCommand.self, TicketsCommand.self, EarningsCommand.self, GrantCommand.self,
            ProxyInsideCommand.self, DaemonCommand.self, RelayCommand.self,
            KeygenCommand.self, AuthorityCommand.self, MintCommand.self, CheckConfigCommand.self,
            VersionCommand.self, CompletionsCommand.self,
        ]
    )

    static func main() async {
        Output.fillStandardStreams()
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as Failure {
            Output.end(failure)
        } catch let error as ConfigurationError {
            Output.end(error)
        } catch {
            exit(withError: error)
        }
    }
}

/// The release this program belongs to.
enum Version {
    static let number = "0.1.0"
}
