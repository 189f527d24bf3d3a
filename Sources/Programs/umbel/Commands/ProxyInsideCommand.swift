import ArgumentParser
import ControlAPI
import Foundation
import Glibc
import HostNetwork
import ProxyServer

/// The proxy itself: what `umbel proxy` runs in a network of its own, with sockets of the one it was
/// started in.
struct ProxyInsideCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy-inside",
        abstract: "What `umbel proxy` runs.",
        shouldDisplay: false
    )

    @OptionGroup var exit: ExitOptions
    @OptionGroup var traffic: TrafficOptions
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions
    @Option var listeners: DescriptorList
    @Option var relays: DescriptorList
    @Option var lifeline: Int32
    @Option var port: UInt16
    @Option var families: Int

    func run() async throws {
        let networks = ProxyNetworks(
            client: socket.client,
            exit: exit.countries,
            traffic: traffic.choice
        )
        // Before anybody is told that it is ready.
        _ = try await networks.open(for: nil)
        let server = ProxyServer(relays: relays.numbers) { credentials in
            try? await networks.open(for: credentials)
        }
        let addresses = ["127.0.0.1:\(port)", "[::1]:\(port)"].prefix(families)
        if format.json {
            try Output.printJSON(ProxyReport(addresses: Array(addresses)))
        } else {
            Output.print("proxy ready: SOCKS 5 and HTTP at \(addresses.joined(separator: " and "))")
        }
        watchLifeline()
        let (failures, failed) = AsyncStream.makeStream(of: String.self)
        let serving = Task {
            do {
                try await server.serve(listeners: listeners.numbers)
            } catch {
                failed.yield("\(error)")
            }
        }
        let problem = await StopSignals.wait {
            for await failure in failures { return failure }
            return nil
        }
        serving.cancel()
        await networks.close()
        guard let problem else { return }
        throw Failure(
            "the proxy has stopped",
            why: problem,
            hint: "start it again",
            exit: .internalFault
        )
    }

    /// Ends this program when the one that started it is gone.
    private func watchLifeline() {
        let lifeline = lifeline
        let thread = Thread {
            var byte: UInt8 = 0
            while read(lifeline, &byte, 1) < 0, errno == EINTR {}
            Glibc.exit(0)
        }
        thread.name = "lifeline"
        thread.start()
    }
}

/// A proxy that serves: what `umbel proxy --json` prints.
struct ProxyReport: Codable, Hashable {
    /// The layout's version.
    var schema = reportSchema
    /// Where it takes SOCKS 5 and HTTP, each `address:port`.
    var addresses: [String]
    /// The process that serves.
    var pid = getpid()
}

/// Numbers of open descriptors, separated by commas.
struct DescriptorList: ExpressibleByArgument {
    let numbers: [Int32]

    init?(argument: String) {
        let parts = argument.split(separator: ",").map { Int32($0) }
        numbers = parts.compactMap(\.self)
        guard numbers.count == parts.count, !numbers.isEmpty, numbers.allSatisfy({ $0 > 2 }) else {
            return nil
        }
    }
}
