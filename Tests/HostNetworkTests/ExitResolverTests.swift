import Base
import EventLoop
import Foundation
import HostNetwork
import Testing

@Suite("An exit's own resolver", .timeLimit(.minutes(2)))
struct ExitResolverTests {
    private func resolver(
        _ program: ExitResolver.Program,
        addresses: [String] = ["127.0.0.1"],
        upstreams: [String] = []
    ) -> ExitResolver {
        ExitResolver(
            program,
            addresses: addresses.compactMap { IPAddress($0) },
            clients: [IPNetwork("127.0.0.0/8")].compactMap(\.self),
            upstreams: upstreams.compactMap { IPAddress($0) },
            allowed: [IPNetwork("203.0.113.0/24")].compactMap(\.self)
        )
    }

    @Test("unbound asks no server in reserved networks, but in those that are open")
    func avoided() throws {
        let plain = resolver(.unbound)
        #expect(plain.configuration.contains("do-not-query-address: 192.168.0.0/16"))
        #expect(plain.configuration.contains("do-not-query-address: fc00::/7"))
        #expect(!plain.configuration.contains("203.0.113.0/24"))
        let forwarding = resolver(.unbound, upstreams: ["192.168.1.1"])
        #expect(!forwarding.configuration.contains("do-not-query-address: 192.168.0.0/16"))
        #expect(forwarding.configuration.contains("forward-addr: 192.168.1.1"))
    }

    @Test("what is told to unbound is what unbound understands", .enabled(if: hasChecker))
    func understood() async throws {
        for upstreams in [[], ["9.9.9.9", "2620:fe::9"]] {
            let text = resolver(
                .unbound,
                addresses: ["100.64.0.1", "fd00:7::1"],
                upstreams: upstreams
            ).configuration
            try await CommandRunner().run(["unbound-checkconf", "/dev/stdin"], input: text)
        }
    }

    static let hasChecker = (try? CommandRunner.locate("unbound-checkconf")) != nil
    private static let installed = ExitResolver.Program.allCases.filter {
        (try? CommandRunner.locate($0.rawValue)) != nil
    }

    @Test("a program that is not there is named, with what to install")
    func missing() throws {
        let error = #expect(throws: HostNetworkError.self) { try ExitResolver.installed([]) }
        #expect(error?.hint?.contains("resolver") == true)
    }

    @Test("it answers, without rights and files, and goes when told to", arguments: installed)
    func answers(program: ExitResolver.Program) throws {
        // Both are tried at once, by the same port.
        let own = program == .unbound ? "127.0.0.2" : "127.0.0.3"
        let resolver = resolver(program, addresses: [own])
        let address = try #require(SocketAddress("\(own):\(ExitResolver.port)"))
        var running = try ConfinedProgram(
            try resolver.command(),
            input: resolver.configuration
        )
        var socket = try ResolverSocket(address)
        var isAnswered = false
        for _ in 0..<400 where !isAnswered && running.ending() == nil {
            socket.ask()
            usleep(50_000)
            isAnswered = socket.takeAnswer()
        }
        let words = running.readOutput() ?? ""
        #expect(isAnswered, "\(words)")
        let status = try String(contentsOfFile: "/proc/\(running.pid)/status", encoding: .utf8)
        func field(_ name: String) -> Substring? {
            status.split(separator: "\n").first { $0.hasPrefix("\(name):") }?
                .split(whereSeparator: \.isWhitespace).last
        }
        for name in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            #expect(field(name).map { $0.allSatisfy { $0 == "0" } } == true, "\(name)")
        }
        #expect(field("NoNewPrivs") == "1")
        if getuid() == 0 { #expect(field("Uid") == "65534") }
        running.end(withinMilliseconds: 5_000)
        let ending = running.ending()
        #expect(ending != nil)
        socket.ask()
        usleep(50_000)
        let answersStill = socket.takeAnswer()
        #expect(!answersStill)
    }

    @Test("a confined program writes nowhere, and reads only what is the system's")
    func confined() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o777]
        )
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data("secret".utf8).write(to: URL(fileURLWithPath: "\(folder)/key"))
        let script = """
            cat; cat \(folder)/key; echo x >\(folder)/new; head -c0 /etc/passwd && echo reads
            echo end
            """
        var program = try ConfinedProgram(["/bin/sh", "-c", script], input: "given\n")
        var said = ""
        for _ in 0..<400 where !said.contains("end\n") {
            guard let words = program.readOutput() else { break }
            said += words
            usleep(50_000)
        }
        #expect(said.contains("given\n"))
        #expect(said.contains("reads\n"))
        if program.isWithoutFiles {
            #expect(!said.contains("secret"))
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/new"))
        }
        program.end(withinMilliseconds: 5_000)
    }

    @Test("it does not outlive the thread that started it")
    func orphan() throws {
        let pid = Box()
        let thread = try LoopThread.start(name: "parent") {
            guard let program = try? ConfinedProgram(["/bin/sleep", "600"], input: "") else {
                return
            }
            pid.value = program.pid
            // As a thread that dies with its process would leave it.
            _ = consume program
        }
        thread.join()
        #expect(pid.value > 0)
        #expect(kill(pid.value, 0) != 0)
    }

    // Sound: written before the thread ends, read after it was joined.
    private final class Box: @unchecked Sendable {
        var value: Int32 = 0
    }

    @Test("only an answer to the last question counts")
    func question() {
        let question = ResolverQuestion.bytes(0x1234)
        #expect(!ResolverQuestion.isAnswered(by: question, number: 0x1234))
        var answer = question
        answer[2] |= 0x80
        #expect(!ResolverQuestion.isAnswered(by: answer, number: 0x1234))
        answer[7] = 1
        #expect(ResolverQuestion.isAnswered(by: answer, number: 0x1234))
        #expect(!ResolverQuestion.isAnswered(by: answer, number: 0x1235))
        answer[3] = 2
        #expect(!ResolverQuestion.isAnswered(by: answer, number: 0x1234))
        #expect(!ResolverQuestion.isAnswered(by: [], number: 0))
    }
}
