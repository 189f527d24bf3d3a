import Foundation
import HostNetwork
import Testing

extension Lab {
    /// What a client changes of a machine: rules, interfaces and what blocks traffic.
    func picture(_ host: String) async throws -> String {
        var text = ""
        for command in ["ip rule", "ip -6 rule", "ip -brief link", "nft list ruleset"] {
            text += try await run(host, command)
        }
        return text
    }

    /// Runs a client's daemon on the stranger's host behind `prefix`; what `body` does must leave the
    /// machine as it was.
    ///
    /// - Parameter start: starts the program it is given on the stranger's host.
    func withDaemon(
        _ prefix: [String],
        start: (_ command: [String]) async throws -> BackgroundProgram,
        _ body: (_ socket: String) async throws -> Void
    ) async throws {
        let before = try await picture("stranger")
        let client = try await configuration(like: "client")
        let daemon = try await start(prefix + [Self.umbel, "daemon", "--config", client.file])
        try await eventually("the daemon is ready: \(daemon.output)") {
            daemon.output.contains("ready on") || !daemon.isRunning
        }
        try #require(daemon.isRunning, "\(daemon.output)")
        try await body("\(client.folder)/control.sock")
        daemon.send(SIGTERM)
        #expect(try await daemon.status() == 0)
        #expect(try await picture("stranger") == before)
    }

    /// The same, started as any program is.
    func withDaemon(
        _ prefix: [String],
        _ body: (_ socket: String) async throws -> Void
    ) async throws {
        try await withDaemon(
            prefix,
            start: { try BackgroundProgram(self, host: "stranger", $0) },
            body
        )
    }
}

/// Expects three lines: what failed, why, and a hint.
func expectRefusal(
    _ outcome: CommandRunner.Outcome,
    status: Int32,
    _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(outcome.status == status, "\(outcome)", sourceLocation: sourceLocation)
    let lines = outcome.message.split(separator: "\n").filter { !$0.hasPrefix("<") }
    #expect(lines.count == 3, "\(outcome.message)", sourceLocation: sourceLocation)
    #expect(lines.last?.contains("hint: ") == true, sourceLocation: sourceLocation)
    for word in words {
        #expect(
            outcome.message.contains(word),
            "\(outcome.message)",
            sourceLocation: sourceLocation
        )
    }
}
