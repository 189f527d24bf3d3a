import Base
import NodeConfiguration
import Testing

@Suite("What an exit's operator decides")
struct ExitConfigurationTests {
    private func exit(_ text: String) throws -> RelayConfiguration.Exit {
        let folder = try ScratchFolder()
        let file = try folder.write("relay.toml", leastRelay + "\n[exit]\n" + text)
        return try RelayConfiguration(file: file).exit
    }

    @Test("the resolver is the exit's own, a program, or another machine")
    func resolvers() throws {
        #expect(try exit("").resolver == .own)
        #expect(try exit("resolver = \"own\"").resolver == .own)
        #expect(try exit("resolver = \"unbound\"").resolver == .program(.unbound))
        #expect(try exit("resolver = \"dnsmasq\"").resolver == .program(.dnsmasq))
        let address = try #require(IPAddress("9.9.9.9"))
        #expect(try exit("resolver = \"9.9.9.9\"").resolver == .address(address))
        #expect(throws: ConfigurationError.self) { try exit("resolver = \"bind\"") }
        #expect(try exit("upstreams = [\"9.9.9.9\"]").upstreams == [address])
    }

    @Test(
        "a policy that contradicts itself is refused, with what to do",
        arguments: [
            "resolver = \"9.9.9.9\"\nupstreams = [\"9.9.9.10\"]",
            "addresses = [\"192.0.2.1\", \"192.0.2.1\"]",
            "addresses = [\"2001:db8::1\"]\nipv6 = false",
            "flows = 0", "flows_per_second = 0", "ports = [\"0\"]", "ports = [\"90-80\"]",
            "allow = [\"192.0.2.0/33\"]",
        ]
    )
    func contradictions(text: String) throws {
        let error = #expect(throws: ConfigurationError.self) { try exit(text) }
        let problems = try #require(error?.problems)
        #expect(problems.count == 1)
        #expect(problems.allSatisfy { !$0.hint.isEmpty && $0.what.contains("relay.toml:") })
    }
}
