import Base
import Foundation
import HostNetwork
import Testing

/// Runs a program and returns what it printed.
@discardableResult
private func output(_ program: String, _ arguments: String...) throws -> String {
    let process = Process()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0, "\(program) \(arguments)")
    return String(decoding: data, as: UTF8.self)
}

/// A file for a command's output, removed with the value.
private final class ScratchFile {
    let path = "/var/tmp/umbel-\(UUID().uuidString)"
    var text: String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

private let tunnel = IsolatedProcess.Interface(
    name: "umbel0",
    ipv4: IPAddress(v4: 0x0a6f_0002),
    ipv6: IPAddress(high: 0xfd75_6d62_656c_0000, low: 2),
    resolvers: [IPAddress(v4: 0x0a6f_0001), IPAddress(high: 0xfd75_6d62_656c_0000, low: 1)],
    mtu: 1280
)

/// Runs `command` in namespaces with a TUN interface, and returns how it ended.
private func run(_ command: String...) async throws -> IsolatedProcess.Ending {
    let process = try IsolatedProcess(command)
    try output(
        "/usr/bin/nsenter",
        "-t",
        "\(process.pid)",
        "-n",
        "ip",
        "tuntap",
        "add",
        "umbel0",
        "mode",
        "tun"
    )
    return try await process.run(through: tunnel).ending()
}

@Suite(
    "A command in namespaces of its own",
    .serialized,
    .timeLimit(.minutes(1)),
    .enabled(if: geteuid() == 0, "needs root")
)
struct IsolatedProcessTests {
    @Test("It has loopback, the tunnel's addresses, and no other interface")
    func interfaces() async throws {
        let file = ScratchFile()
        #expect(try await run("sh", "-c", "ip -o addr > \(file.path)") == .exited(0))
        let addresses = file.text.split(separator: "\n").map { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            return "\(words[1]) \(words[3])"
        }
        let expected: Set = [
            "lo 127.0.0.1/8", "lo ::1/128", "umbel0 10.111.0.2/32", "umbel0 fd75:6d62:656c::2/128",
        ]
        #expect(Set(addresses.filter { !$0.contains("fe80:") }) == expected)
    }

    @Test("All its traffic of both families is routed into the tunnel")
    func routes() async throws {
        let file = ScratchFile()
        let command = """
            (ip route get 198.51.100.1; ip -6 route get 2001:db8::1; ip link show umbel0) \
            > \(file.path)
            """
        #expect(try await run("sh", "-c", command) == .exited(0))
        #expect(file.text.contains("198.51.100.1 dev umbel0 src 10.111.0.2"))
        #expect(file.text.contains(/2001:db8::1 .*dev umbel0.* src fd75:6d62:656c::2/))
        #expect(file.text.contains("mtu 1280"))
    }

    @Test("It asks the tunnel's resolvers for names, and the host's files stay as they were")
    func resolver() async throws {
        let file = ScratchFile()
        let hosts = try output("/bin/cat", "/etc/resolv.conf", "/etc/nsswitch.conf")
        let command = "(cat /etc/resolv.conf; grep ^hosts: /etc/nsswitch.conf) > \(file.path)"
        #expect(try await run("sh", "-c", command) == .exited(0))
        #expect(
            file.text == """
                nameserver 10.111.0.1
                nameserver fd75:6d62:656c::1
                hosts: files dns

                """
        )
        #expect(try output("/bin/cat", "/etc/resolv.conf", "/etc/nsswitch.conf") == hosts)
    }

    @Test("It still sees the files of the host, /tmp included")
    func files() async throws {
        let path = "/tmp/umbel-\(UUID().uuidString)"
        try "here".write(toFile: path, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(try await run("sh", "-c", "test \"$(cat \(path))\" = here") == .exited(0))
    }

    @Test("Its exit status is passed on", arguments: [0, 1, 77, 255])
    func exitStatus(status: Int32) async throws {
        #expect(try await run("sh", "-c", "exit \(status)") == .exited(status))
    }

    @Test("The signal that ended it is passed on", arguments: [SIGKILL, SIGTERM, SIGINT])
    func signal(signal: Int32) async throws {
        let ending = try await run("sh", "-c", "kill -\(signal) $$; sleep 60")
        #expect(ending == .killed(signal: signal))
    }

    @Test("A command that does not exist is an error of its own")
    func noCommand() async throws {
        let error = await #expect(throws: IsolationError.self) {
            _ = try await run("/nonexistent/command")
        }
        #expect(error == IsolationError(step: .exec, code: ENOENT))
    }

    @Test("Without its interface nothing is run")
    func noInterface() async throws {
        let file = ScratchFile()
        let error = await #expect(throws: IsolationError.self) {
            let process = try IsolatedProcess(["touch", file.path])
            _ = try await process.run(through: tunnel).ending()
        }
        #expect(error == IsolationError(step: .interface, code: ENODEV))
        #expect(!FileManager.default.fileExists(atPath: file.path))
    }

    @Test("It makes a device in its own network, which is gone when it has become its command")
    func device() async throws {
        let file = ScratchFile()
        let process = try IsolatedProcess(["sh", "-c", "ip -o link > \(file.path)"])
        let number = try process.makeDevice()
        let link = "/proc/\(process.pid)/fd/\(number)"
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "/dev/net/tun")
        let links = try output(
            "/usr/bin/nsenter",
            "-t",
            "\(process.pid)",
            "-n",
            "ip",
            "-o",
            "link"
        )
        #expect(links.contains(" umbel-run0: "), "\(links)")
        #expect(try !output("/usr/bin/env", "ip", "-o", "link").contains("umbel-run0"))
        // Nobody took it over.
        var interface = tunnel
        interface.name = "umbel-run0"
        let ending = try await process.run(through: interface).ending()
        #expect(ending == .exited(0))
        #expect(!file.text.contains("umbel-run0"), "\(file.text)")
    }

    @Test("A process that is abandoned is gone, and never ran its command")
    func abandoned() throws {
        let file = ScratchFile()
        let process = try IsolatedProcess(["touch", file.path])
        let pid = process.pid
        #expect(kill(pid, 0) == 0)
        process.abandon()
        #expect(kill(pid, 0) == -1 && errno == ESRCH)
        #expect(!FileManager.default.fileExists(atPath: file.path))
    }

    @Test("Names and resolvers that do not fit are refused", arguments: ["", "sixteen-byte-name"])
    func badInterface(name: String) async throws {
        var interface = tunnel
        interface.name = name
        let error = await #expect(throws: IsolationError.self) {
            let process = try IsolatedProcess(["true"])
            _ = try await process.run(through: interface).ending()
        }
        #expect(error == IsolationError(step: .interface, code: EINVAL))
    }
}
