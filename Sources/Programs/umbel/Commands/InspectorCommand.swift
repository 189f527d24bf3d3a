import ArgumentParser
import ControlAPI
import Logging

/// `umbel inspector`: the page that shows circuits.
struct InspectorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspector",
        abstract: "Serve a page that shows what the node behind --socket does.",
        discussion: """
            Prints the page's address; open it in a browser on this machine. The address holds a \
            token, new with each start: who knows it can look, and close and renew circuits. The \
            page loads nothing from anywhere else. Ends with Ctrl-C.
            """
    )

    @Option(help: "Port on 127.0.0.1; 0 for any that is free.")
    var port: UInt16 = 0
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = socket.client
        _ = try await client.node()
        var generator = SystemRandomNumberGenerator()
        let token = (0..<4).map { _ in
            let digits = String(generator.next(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
        var logger = DaemonLog.make("inspector", isVerbose: false)
        logger.logLevel = .critical
        let inspector = Inspector(node: client, token: token, logger: logger)
        let port = Int(port)
        let serving = Task {
            try await inspector.serve(port: port) { Output.print($0) }
        }
        let failure = await Starting.wait(for: serving) {
            // It has no part that could fail on its own.
            let (never, held) = AsyncStream.makeStream(of: Void.self)
            for await _ in never {}
            held.finish()
            return nil
        }
        try failure.map { throw $0 }
    }
}
