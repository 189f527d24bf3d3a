import ControlAPI
import Foundation
import Testing

@Suite("Looking into circuits over the socket", .timeLimit(.minutes(1)))
struct CircuitAPITests {
    @Test("Questions and orders reach the service")
    func questions() async throws {
        let circuits = FixedCircuits()
        try await TestSocket().serving(FixedClient(), circuits: circuits) { client in
            #expect(try await client.trace(TraceRequest(circuit: 3)) == FixedCircuits.traced)
            let explained = try await client.explain(3)
            #expect(explained.parties.count == 6)
            #expect(try await client.newCircuit().circuits == [FixedCircuits.circuit])
            #expect(try await client.closeCircuit(3).circuits.isEmpty)
            #expect(try await client.leakTest() == FixedCircuits.leaks)
            let failure = await #expect(throws: Failure.self) { try await client.explain(4) }
            #expect(failure?.why == "gone")
        }
        #expect(
            circuits.calls == [
                "trace 3 10 100.0", "explain 3", "new", "close 3", "leaks", "explain 4",
            ]
        )
    }

    @Test(
        "A trace out of bounds is refused before anything is sent",
        arguments: [
            TraceRequest(count: 0), TraceRequest(count: TraceRequest.countLimit + 1),
            TraceRequest(interval: 0), TraceRequest(interval: .infinity),
            TraceRequest(patience: 1), TraceRequest(count: 1_000, interval: 100),
        ]
    )
    func bounds(request: TraceRequest) async throws {
        #expect(request.problem != nil)
        // JSON has no infinity: what cannot be sent need not be refused there.
        guard request.interval.isFinite else { return }
        let circuits = FixedCircuits()
        try await TestSocket().serving(FixedClient(), circuits: circuits) { client in
            let failure = await #expect(throws: Failure.self) { try await client.trace(request) }
            #expect(failure?.exitCode == ExitStatus.usage.rawValue)
        }
        #expect(circuits.calls.isEmpty)
    }

    @Test("A trace joined with a later one counts from the first to the last")
    func joined() {
        func stat(_ count: UInt32) -> HopStat {
            HopStat(
                paidTicks: 0,
                forwardIn: count,
                forwardOut: count,
                backwardIn: count,
                backwardOut: count,
                queueDrops: 0,
                queueDelay: 0
            )
        }
        // The second hop gets 90 of each 100 the first one sends, across the counters' end too.
        func report(_ round: UInt32, trip: Double) -> TraceReport {
            let base: UInt32 = .max - 150
            return TraceReport(
                circuit: 1,
                hops: [100, 90].enumerated().map { index, step in
                    TraceReport.Hop(
                        position: index + 1,
                        nickname: "r",
                        country: "??",
                        sent: 10,
                        roundTrips: [trip],
                        before: stat(base &+ round * UInt32(step)),
                        after: stat(base &+ (round + 1) * UInt32(step))
                    )
                },
                client: .init(
                    sentBefore: UInt64(round) * 200,
                    sentAfter: UInt64(round + 1) * 200,
                    receivedBefore: UInt64(round) * 100,
                    receivedAfter: UInt64(round + 1) * 100
                )
            )
        }
        let whole = report(0, trip: 1).joined(with: report(1, trip: 3))
        #expect(whole.hops[0].sent == 20)
        #expect(whole.hops[0].received == 2)
        #expect(whole.hops[0].roundTrips.average == 2)
        #expect(whole.segments[0].forward == .init(sent: 400, received: 200))
        #expect(whole.segments[0].forward?.loss == 0.5)
        #expect(whole.segments[0].backward == .init(sent: 200, received: 200))
        #expect(whole.segments[1].forward == .init(sent: 200, received: 180))
        #expect(whole.segments[1].backward?.loss == 0, "more came than one end sent: nothing lost")
        #expect(FixedCircuits.traced.segments[2].forward == nil, "the far end did not say")
    }

    @Test("Of 100 round trips one may be longer than the 99th percentile")
    func percentile() {
        let trips = RoundTrips((1...100).map(Double.init).reversed())
        #expect(trips.percentile99 == 99)
        #expect(trips.minimum == 1 && trips.maximum == 100 && trips.average == 50.5)
        #expect(RoundTrips([4]).percentile99 == 4)
        #expect(RoundTrips([]).percentile99 == nil)
    }

    @Test("Explanations name the addresses each party sees, and what two would know together")
    func explanation() throws {
        let report = try #require(ExplainReport(FixedCircuits.circuit, source: "192.0.2.100"))
        func sees(_ role: ExplainReport.Party.Role) -> [String] {
            report.parties.first { $0.role == role }?.addresses ?? []
        }
        #expect(sees(.guardRelay) == ["192.0.2.100", "198.51.100.12:4433"])
        #expect(sees(.middle) == ["192.0.2.11:4433", "203.0.113.13:4433"])
        #expect(sees(.exit).first == "198.51.100.12:4433")
        // Nobody behind the guard learns the client's address from it.
        for party in report.parties where [.middle, .exit, .destination].contains(party.role) {
            let said = party.addresses + party.knows
            #expect(!said.contains { $0.contains("192.0.2.100") }, "\(party.role)")
        }
        #expect(
            report.warnings == [
                "iris and lily stand in one network, AS64500",
                "iris and lily, guard and exit, both stand in CH",
                "rose and lily have one operator, family ab12",
            ]
        )
        var short = FixedCircuits.circuit
        short.hops.removeLast()
        #expect(ExplainReport(short, source: nil) == nil)
    }

    @Test("Explanations say of volumes what the circuit's mode lets each party see")
    func explainedModes() throws {
        func known(in mode: TrafficMode?) throws -> [ExplainReport.Party.Role: String] {
            var circuit = FixedCircuits.circuit
            circuit.traffic = mode.map { mode in
                let choice = TrafficChoice(mode: mode, slotMilliseconds: mode == .mix ? 2.5 : nil)
                var report = TrafficReport(
                    mode: mode,
                    slotMilliseconds: choice.slotMilliseconds,
                    price: TrafficPrice(of: choice)
                )
                report.coverCells = mode == .fast ? nil : 7
                return report
            }
            let report = try #require(ExplainReport(circuit, source: "192.0.2.100"))
            return Dictionary(
                uniqueKeysWithValues: report.parties.map {
                    ($0.role, $0.knows.joined(separator: "; "))
                }
            )
        }
        for role in [ExplainReport.Party.Role.accessNetwork, .guardRelay] {
            #expect(try known(in: nil)[role]?.contains("when and how much") == true)
            #expect(try known(in: .fast)[role] == known(in: nil)[role])
            #expect(try known(in: .padded)[role]?.contains("to a factor of four") == true)
            let mixed = try #require(try known(in: .mix)[role])
            #expect(mixed.contains("one cell each way in each slot of 2.5 ms"))
            #expect(!mixed.contains("how much"), "\(mixed)")
        }
        // Cover ends at the middle.
        for mode in [TrafficMode.padded, .mix] {
            #expect(try known(in: mode)[.middle]?.contains("cover: 7 of those out") == true)
            #expect(try known(in: mode)[.exit]?.contains("without the cover") == true)
        }
        // Whom a circuit is for is its client's own business.
        for (role, text) in try known(in: .fast) {
            #expect(text.contains("whom the circuit is for: machine") == (role == .client))
        }
    }

    @Test("The state stream is Server-Sent Events, each with its name and one line of JSON")
    func stream() async throws {
        let socket = try TestSocket()
        try await socket.serving(FixedClient(), circuits: FixedCircuits()) { _ in
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [
                "curl", "-sNi", "--max-time", "5", "--unix-socket", socket.path,
                "http://umbel/v1/stream",
            ]
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let answer = String(
                decoding: output.fileHandleForReading.readDataToEndOfFile(),
                as: UTF8.self
            )
            process.waitUntilExit()
            // To Swift the end of a header's line is one character.
            let text = answer.replacing("\r\n", with: "\n")
            #expect(text.lowercased().contains("content-type: text/event-stream"))
            let names = text.split(separator: "\n").filter { $0.hasPrefix("event: ") }
            #expect(names == ["event: status", "event: circuits", "event: event"])
            let data = text.split(separator: "\n").filter { $0.hasPrefix("data: ") }
            #expect(data.count == 3)
            let event = try JSONDecoder().decode(
                EventReport.self,
                from: Data(try #require(data.last).dropFirst(6).utf8)
            )
            #expect(event == FixedCircuits.event)
        }
    }
}
