import Base
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

/// Why labs cannot be built here; `nil` where they can.
let obstacle: String? = {
    guard getuid() == 0 else { return "not root" }
    for program in ["ip", "nft", "tc", "ethtool", "nginx", "dnsmasq", "iperf3", "socat", "curl"] {
        guard (try? CommandRunner.locate(program)) != nil else { return "no \(program)" }
    }
    return nil
}()

/// What must be there, for the tests' own words where it is not.
let needs: Comment = "needs root, ip, nft, tc, ethtool, nginx, dnsmasq, iperf3, socat, curl"

/// A lab of one test, under a name of its own, driven through the built program.
struct LabFixture {
    var name: String
    var program: String
    var folder: String
    var environment: [String] = []

    /// Two nets, one of them shared, with a server, and hosts that run nothing.
    static let topology = """
        subnets:
          net: [203.0.113.0/24, 2001:db8:f::/48]
          one: [198.18.1.0/24, 2001:db8:1::/48]
          two: [192.0.2.0/24, 2001:db8:2::/48]
        hosts:
          - name: inet
            role: internet
            addresses: [203.0.113.10, "2001:db8:f::10"]
            services: {names: [www.umbel.test], iperf3_ports: [5201, 5202]}
          - {name: h1, role: plain, addresses: [198.18.1.10, "2001:db8:1::10"]}
          - {name: h2, role: plain, addresses: [192.0.2.12, "2001:db8:2::12"]}
          - {name: h3, role: plain, addresses: [192.0.2.13, "2001:db8:2::13"]}

        """

    /// Runs `body` with a lab's name and a topology file; whatever is left is taken down.
    static func with(
        _ topology: String = Self.topology,
        _ body: (LabFixture) async throws -> Void
    ) async throws {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let fixture = LabFixture(
            name: "lt\(getpid())x\(UInt16.random(in: 0...UInt16.max))",
            program: URL(fileURLWithPath: own).deletingLastPathComponent().path + "/umbel-lab",
            folder: folder
        )
        try Data(topology.utf8).write(to: URL(fileURLWithPath: fixture.file))
        do {
            try await body(fixture)
        } catch {
            _ = try? await fixture.lab("down")
            throw error
        }
        _ = try await fixture.lab("down")
        #expect(try await fixture.remains() == [])
    }

    var file: String { "\(folder)/lab.yaml" }

    /// Runs `umbel-lab COMMAND --name NAME …`.
    func lab(_ command: String, _ arguments: [String] = []) async throws -> CommandRunner.Outcome {
        try await CommandRunner().outcome(
            of: ["env"] + environment + [program, command, "--name", name] + arguments,
            timeout: .seconds(60)
        )
    }

    /// Builds the lab, which must succeed.
    func up() async throws {
        let outcome = try await lab("up", [file])
        try #require(outcome.status == 0, "\(outcome.message)")
    }

    /// Runs a program on a host.
    func exec(_ host: String, _ command: String) async throws -> CommandRunner.Outcome {
        try await lab("exec", [host, "--"] + command.split(separator: " ").map(String.init))
    }

    /// The state `status --json` gives for `host`.
    func state(of host: String) async throws -> String {
        struct Report: Decodable {
            struct Host: Decodable {
                var name: String
                var state: String
            }
            var schema: Int
            var hosts: [Host]
        }
        let outcome = try await lab("status", ["--json"])
        let report = try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
        #expect(report.schema == 1)
        return try #require(report.hosts.first { $0.name == host }).state
    }

    /// Everything of the lab that is still on the machine.
    func remains() async throws -> [String] {
        var found: [String] = []
        let namespaces = try await CommandRunner().run(["ip", "netns", "list"])
        found += namespaces.split(separator: "\n").map(String.init).filter { $0.contains(name) }
        for folder in ["/etc/netns", "/run/umbel-lab", "/run/netns"] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            found += names.filter { $0.hasPrefix(name) }.map { "\(folder)/\($0)" }
        }
        let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc")
        for pid in processes.compactMap({ Int32($0) }) where pid != getpid() {
            let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            let text = String(decoding: data, as: UTF8.self).replacing("\0", with: " ")
            if text.contains("/run/umbel-lab/\(name)/") || text.contains("exec \(name)-") {
                found.append("process \(pid): \(text)")
            }
        }
        return found
    }
}
