import Base
import Foundation
import HostNetwork
import Testing

/// Why tests that build namespaces cannot run here; `nil` where they can.
let obstacle: String? = {
    guard getuid() == 0 else { return "not root" }
    for program in ["ip", "nft", "sysctl", "socat", "ping", "ss"] {
        guard (try? CommandRunner.locate(program)) != nil else { return "no \(program)" }
    }
    return nil
}()

/// Namespaces of one test, gone when it ends.
final class TestNetwork {
    let tag = "ut\(getpid())x\(UInt16.random(in: 0...UInt16.max))"
    private var namespaces: [NetworkNamespace] = []

    /// Makes the namespace `role`.
    func add(_ role: String) async throws -> CommandRunner {
        let namespace = NetworkNamespace("\(tag)-\(role)")
        try await namespace.create()
        namespaces.append(namespace)
        return namespace.runner
    }

    /// Joins two namespaces by a cable; addresses are `a/length`.
    func join(
        _ left: CommandRunner,
        _ leftName: String,
        _ leftAddresses: [String],
        _ right: CommandRunner,
        _ rightName: String,
        _ rightAddresses: [String]
    ) async throws {
        var first = InterfacePlan()
        first.addPair(leftName, peer: rightName, inNamespace: try #require(right.namespace))
        try await first.apply(with: left)
        for (runner, name, addresses) in [
            (left, leftName, leftAddresses), (right, rightName, rightAddresses),
        ] {
            var plan = InterfacePlan()
            plan.raise(name, mtu: 1500)
            for text in addresses {
                let parts = text.split(separator: "/")
                plan.assign(
                    try #require(IPAddress(parts[0])),
                    prefixBitCount: try #require(Int(parts[1])),
                    to: name
                )
            }
            try await plan.apply(with: runner)
        }
    }

    /// Starts a server in the namespace of `runner` and waits until `count` listen on `port`.
    func serve(
        _ runner: CommandRunner,
        port: Int,
        _ argv: [String],
        count: Int = 1
    ) async throws {
        // Left behind by the shell, so that it outlives the command; ended with its namespace.
        let detached = "\"$@\" </dev/null >/dev/null 2>&1 &"
        try await runner.run(["sh", "-c", detached, "sh"] + argv)
        for _ in 0..<200 {
            let sockets = try await runner.run(["ss", "-Hlntu"])
            let listening = sockets.split(separator: "\n").filter { $0.contains(":\(port) ") }
            if listening.count >= count { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw HostNetworkError(what: "no server on port \(port)", why: "it does not listen")
    }

    /// Answers each UDP datagram with the address and port it came from.
    ///
    /// - Parameters:
    ///   - address: the IPv4 address asked, which socat would not answer from by itself.
    ///   - six: the IPv6 address asked.
    func serveOrigin(
        _ runner: CommandRunner,
        at address: String,
        _ six: String = "::",
        port: Int
    ) async throws {
        for (family, only) in [("4", ",bind=\(address)"), ("6", ",ipv6only=1,bind=[\(six)]")] {
            try await serve(
                runner,
                port: port,
                [
                    "socat", "-T2", "UDP\(family)-RECVFROM:\(port),fork\(only)",
                    "SYSTEM:read line; echo $SOCAT_PEERADDR $SOCAT_PEERPORT",
                ],
                count: family == "4" ? 1 : 2
            )
        }
    }

    /// Ends the servers and removes the namespaces.
    func tearDown() async throws {
        for namespace in namespaces {
            for pid in try await namespace.processes() { kill(pid, SIGKILL) }
            try await namespace.delete()
        }
    }
}

/// Runs `body` with a network of its own, removed afterwards whatever happens.
func withNetwork(_ body: (TestNetwork) async throws -> Void) async throws {
    let network = TestNetwork()
    do {
        try await body(network)
    } catch {
        try? await network.tearDown()
        throw error
    }
    try await network.tearDown()
}

/// A folder of its own for `body`, removed afterwards.
func withFolder<T>(_ body: (String) async throws -> T) async throws -> T {
    let folder = FileManager.default.temporaryDirectory.path + "/umbel-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try await body(folder)
}

extension CommandRunner {
    /// Sends one UDP datagram and returns the answer, or nothing after a second.
    func ask(_ target: String, options: String = "") async throws -> String {
        let outcome = try await outcome(
            of: ["socat", "-t1", "-T1", "-", "UDP:\(target)\(options)"],
            input: "ask\n"
        )
        return outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Whether `target` answers a ping within a second.
    func reaches(_ target: String, _ options: [String] = []) async throws -> Bool {
        try await outcome(of: ["ping", "-n", "-c1", "-W1"] + options + [target]).status == 0
    }
}
