import Base
import Foundation
import HostNetwork
import Testing

@testable import HostNetwork

/// Lowers this process's limit of descriptors so far that `count` more may be opened; says whether
/// it could.
private func leaveDescriptors(_ count: Int) throws -> Bool {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(resource, &limit) == 0 else { return false }
    let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    limit.rlim_cur = rlim_t(open + count)
    return setrlimit(resource, &limit) == 0
}

@Suite("Programs run to their end")
struct CommandRunnerTests {
    @Test("a program reads its input and its output comes back")
    func echo() async throws {
        #expect(try await CommandRunner().run(["cat"], input: "two\nlines") == "two\nlines")
    }

    // More than a pipe holds, and nothing at all: both for a program that ends at once.
    @Test("a program that never reads its input ends as any other", arguments: [0, 1 << 20])
    func unread(bytes: Int) async throws {
        let input = String(repeating: "x", count: bytes)
        for _ in 0..<50 {
            #expect(try await CommandRunner().outcome(of: ["true"], input: input).status == 0)
        }
    }

    @Test("an input longer than a pipe holds arrives whole")
    func longInput() async throws {
        let input = String(repeating: "0123456789abcdef", count: 1 << 16)
        #expect(try await CommandRunner().run(["cat"], input: input) == input)
    }

    @Test("a missing program is named")
    func missing() async throws {
        let error = await #expect(throws: HostNetworkError.self) {
            try await CommandRunner().run(["umbel-no-such-program"])
        }
        #expect(error?.what.contains("umbel-no-such-program") == true)
    }

    @Test("programs are looked for in PATH first, and then where administration's are")
    func path() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let own = "\(folder)/umbel-own-program"
        #expect(throws: HostNetworkError.self) {
            _ = try CommandRunner.locate("umbel-own-program", path: folder)
        }
        let isMade = FileManager.default.createFile(
            atPath: own,
            contents: nil,
            attributes: [.posixPermissions: 0o755]
        )
        #expect(isMade)
        #expect(try CommandRunner.locate("umbel-own-program", path: "/nowhere:\(folder)") == own)
        #expect(try CommandRunner.locate("sh", path: "/nowhere").hasSuffix("bin/sh"))
    }

    @Test("a program that fails is named with its complaint and status")
    func failing() async throws {
        let error = await #expect(throws: HostNetworkError.self) {
            try await CommandRunner().run(["sh", "-c", "echo broken >&2; exit 3"])
        }
        #expect(error?.what.hasPrefix("`sh -c") == true)
        #expect(error?.why == "broken")
        let outcome = try await CommandRunner().outcome(of: ["sh", "-c", "exit 3"])
        #expect(outcome.status == 3)
    }

    @Test("a program that does not end is ended at its time limit")
    func timeout() async throws {
        let start = ContinuousClock.now
        await #expect(throws: HostNetworkError.self) {
            try await CommandRunner().run(["sleep", "3600"], timeout: .milliseconds(200))
        }
        // Far above what it takes on a loaded machine, far below what the program would.
        #expect(ContinuousClock.now - start < .seconds(300))
    }

    @Test("where few descriptors are left nothing is started, and that is said (row 85)")
    func fewDescriptors() async {
        await #expect(processExitsWith: .exitCode(0)) {
            func outcome() async -> Result<String, HostNetworkError> {
                do throws(HostNetworkError) {
                    return .success(try await CommandRunner().run(["true"]))
                } catch {
                    return .failure(error)
                }
            }
            guard case .success = await outcome() else { exit(1) }
            guard try leaveDescriptors(8) else { exit(2) }
            guard case .failure(let error) = await outcome(), error.why.contains("files open"),
                error.hint?.contains("LimitNOFILE") == true
            else { exit(3) }
            exit(0)
        }
    }

    @Test("where there is no room for a tunnel there still is for a program (row 85)")
    func descriptorsForPrograms() async {
        await #expect(processExitsWith: .exitCode(0)) {
            func isRefused(_ purpose: DescriptorReserve.Purpose) -> Bool {
                do throws(HostNetworkError) {
                    try DescriptorReserve.require(for: purpose, orSay: "it cannot be")
                    return false
                } catch {
                    return error.what == "it cannot be"
                }
            }
            guard !isRefused(.tunnel) else { exit(1) }
            guard try leaveDescriptors(24) else { exit(2) }
            guard isRefused(.tunnel), !isRefused(.program) else { exit(3) }
            guard (try? await CommandRunner().run(["true"])) != nil else { exit(4) }
            exit(0)
        }
    }

    @Test("a namespace that is not there is an error with a hint")
    func namespace() async throws {
        let error = await #expect(throws: HostNetworkError.self) {
            try await CommandRunner(namespace: "umbel-none").run(["true"])
        }
        #expect(error?.hint != nil)
    }

    @Test(
        "a plan that fails names the line it stopped at",
        .enabled(if: obstacle == nil, "needs root, ip, nft, socat")
    )
    func plan() async throws {
        try await withNetwork { network in
            let here = try await network.add("a")
            var plan = InterfacePlan()
            plan.addPair("one", peer: "two")
            plan.raise("three", mtu: 1500)
            let error = await #expect(throws: HostNetworkError.self) {
                try await plan.apply(with: here)
            }
            #expect(error?.why.contains("link set three") == true)
        }
    }

    @Test(
        "an interface moves into the namespace of a process",
        .enabled(if: obstacle == nil, "needs root, ip, nft, socat")
    )
    func move() async throws {
        try await withNetwork { network in
            let from = try await network.add("a")
            let to = try await network.add("b")
            try await network.serve(to, port: 7, ["socat", "TCP-LISTEN:7", "-"])
            let name = try #require(to.namespace)
            let pid = try #require(try await NetworkNamespace(name).processes().first)
            var plan = InterfacePlan()
            plan.addPair("gone", peer: "stays")
            plan.move("gone", toNamespaceOf: pid)
            try await plan.apply(with: from)
            #expect(try await to.run(["ip", "-brief", "link"]).contains("gone"))
            #expect(try await !from.run(["ip", "-brief", "link"]).contains("gone@"))
        }
    }
}
