import NodeConfiguration
import Testing

@Suite("Presets of ports an exit lets out")
struct PortPresetTests {
    private func exit(_ text: String) throws -> RelayConfiguration.Exit {
        let folder = try ScratchFolder()
        let file = try folder.write("relay.toml", leastRelay + "\n[exit]\n" + text)
        return try RelayConfiguration(file: file).exit
    }

    @Test("each is a list a descriptor can say", arguments: RelayConfiguration.PortPreset.allCases)
    func lists(preset: RelayConfiguration.PortPreset) throws {
        let ports = preset.ports
        #expect((1...32).contains(ports.count))
        for (one, next) in zip(ports, ports.dropFirst()) {
            #expect(one.upperBound < next.lowerBound)
        }
        #expect(try exit("preset = \"\(preset.rawValue)\"").ports == ports)
        #expect(ports.contains { $0.contains(443) })
        if preset != .open { #expect(!ports.contains { $0.contains(25) }) }
    }

    @Test("a policy that contradicts itself, or lets nothing out, is refused")
    func contradictions() throws {
        for text in ["preset = \"web\"\nports = [\"443\"]", "ports = []"] {
            let error = #expect(throws: ConfigurationError.self) { try exit(text) }
            #expect(error?.problems.count == 1)
        }
        #expect(throws: ConfigurationError.self) { try exit("preset = \"none\"") }
        #expect(throws: ConfigurationError.self) { try exit("flows_per_second = 0") }
        #expect(try exit("").ports == [1...UInt16.max])
    }
}
