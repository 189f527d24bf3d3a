import Base
import NodeConfiguration
import Testing

@Suite("Limits of a relay's line, as its file says them")
struct LineConfigurationTests {
    private func relay(_ text: String) throws -> RelayConfiguration {
        let folder = try ScratchFolder()
        return try RelayConfiguration(file: folder.write("relay.toml", leastRelay + "\n" + text))
    }

    @Test("rates, quotas, hours and memory are read in the units people write")
    func units() throws {
        let line = try relay(
            """
            [limits]
            rate = "100 Mbit/s"
            rate_sent = "1.5 Mbit/s"
            quota = "1.25 TB"
            quota_period = "week"
            quota_counts = "larger"
            hours = ["22:00-07:00", "12:30-13:00", "00:00-24:00"]
            memory = "128 MiB"
            drain = "30s"
            """
        ).line
        #expect(line.sentBitRate == 1_500_000)
        #expect(line.receivedBitRate == 100_000_000)
        #expect(line.quota == 1_250_000_000_000)
        #expect(line.quotaPeriod == .week)
        #expect(line.quotaCounts == .larger)
        #expect(line.hours == [1_320..<1_860, 750..<780, 0..<1_440])
        #expect(line.memory == 128 << 20)
        #expect(line.drainTime == .seconds(30))
    }

    @Test(
        "a limit of zero, or one a relay cannot live with, is said in one line with what to do",
        arguments: [
            ("rate = \"0 Mbit/s\"", "rate"), ("rate_sent = \"1 kbit/s\"", "rate"),
            ("quota = \"0 B\"", "quota"), ("memory = \"0 B\"", "memory"),
        ]
    )
    func zero(text: String, name: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try relay("[limits]\n\(text)")
        }
        #expect(error?.problems.count == 1)
        #expect(error?.problems.first?.what.contains(name) == true)
        #expect(error?.problems.first?.hint.contains("set") == true)
    }

    @Test(
        "what is no amount is refused",
        arguments: [
            "rate = \"fast\"", "rate = \"-1 Mbit/s\"", "rate = 5", "rate = \"1.2345 Mbit/s\"",
            "quota = \"1 mb\"", "quota = \"99999999999 TB\"", "hours = [\"7-22\"]",
            "hours = [\"07:00-07:00\"]", "hours = [\"07:60-08:00\"]", "hours = [\"25:00-26:00\"]",
            "quota_day = 31", "drain = \"1h\"", "shards = 0", "circuits = 0",
        ]
    )
    func malformed(text: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try relay("[limits]\n\(text)")
        }
        #expect(error?.problems.count == 1)
    }

    @Test(
        "metrics are for this machine alone",
        arguments: ["0.0.0.0:9464", "192.0.2.1:9464", "[2001:db8::1]:9464", "[::]:9464"]
    )
    func metrics(address: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try relay("[metrics]\nlisten = \"\(address)\"")
        }
        #expect(error?.problems.first?.hint.contains("127.0.0.1:9464") == true)
        for local in ["127.0.0.1:9464", "[::1]:9464", "127.8.9.1:1"] {
            let read = try relay("[metrics]\nlisten = \"\(local)\"").metrics
            #expect(read.listenAddress == SocketAddress(local))
        }
    }
}
