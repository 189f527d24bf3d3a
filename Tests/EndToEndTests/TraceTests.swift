import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What `umbel trace` measures, against what the lab was told to do to the cables.
    @Suite("Tracing circuits", .lab())
    struct Traces {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func trace(_ arguments: String...) async throws -> TraceReport {
            let outcome = try await lab.outcome(
                "client",
                [Lab.umbel, "trace", "--json", "--socket", lab.socket("client")] + arguments,
                seconds: 90
            )
            try #require(outcome.status == 0, "\(outcome.message)")
            return try JSONDecoder().decode(TraceReport.self, from: Data(outcome.output.utf8))
        }

        private func with(
            _ host: String,
            _ faults: [String],
            _ body: () async throws -> Void
        ) async throws {
            func set(_ faults: [String]) async throws {
                let outcome = try await lab.outcome(
                    "core",
                    [Lab.umbelLab, "impair", "--name", lab.name, host] + faults
                )
                try #require(outcome.status == 0, "\(outcome.message)")
            }
            try await set(faults)
            do {
                try await body()
            } catch {
                try? await set(["--clear"])
                throw error
            }
            try await set(["--clear"])
        }

        @Test("round trips grow by the delay of the cables an echo crosses, within 10 %")
        func delays() async throws {
            try await lab.connect()
            let before = try await trace("-c", "50", "--interval", "20")
            let middle = before.hops[1].nickname
            try await with(middle, ["--delay", "20ms"]) {
                let after = try await trace("-c", "50", "--interval", "20")
                try #require(after.circuit == before.circuit)
                // The middle's cable is crossed twice on the way to it, four times beyond.
                for (hop, expected) in [(0, 0.0), (1, 40.0), (2, 80.0)] {
                    let old = try #require(before.hops[hop].roundTrips.minimum)
                    let new = try #require(after.hops[hop].roundTrips.minimum)
                    print("trace: hop \(hop + 1) \(old) ms, with 20 ms at the middle \(new) ms")
                    #expect(abs(new - old - expected) < max(4, expected / 10))
                }
            }
        }

        @Test("segments lose what their cables lose, each way, within 10 %")
        func losses() async throws {
            try await lab.connect()
            let middle = try await lab.path()[1]
            try await with(middle, ["--loss", "10%"]) {
                let report = try await trace("-c", "20000", "--interval", "0.5")
                try #require(report.hops[1].nickname == middle)
                for segment in report.segments {
                    let forward = try #require(segment.forward)
                    let backward = try #require(segment.backward)
                    print("trace: segment \(segment.from)-\(segment.to):", terminator: " ")
                    print("out \(forward.loss ?? -1), back \(backward.loss ?? -1)")
                    let expected = segment.from == 0 ? 0 : 0.1
                    for way in [forward, backward] {
                        // Four deviations of so many draws, and no more than a tenth of it.
                        #expect(abs((way.loss ?? 0) - expected) < 0.01, "\(segment)")
                    }
                }
                // An echo of the second hop crosses two such cables, of the third four.
                for (hop, expected) in [(0, 1.0), (1, 0.81), (2, 0.6561)] {
                    let share =
                        Double(report.hops[hop].received) / Double(report.hops[hop].sent)
                    print("trace: hop \(hop + 1) answered \(share)")
                    #expect(abs(share - expected) < 0.02)
                }
            }
        }

        @Test("looks in passing at a download do not take what is on the way for lost")
        func inPassing() async throws {
            try await lab.connect()
            var (sent, received): (UInt64, UInt64) = (0, 0)
            try await lab.whileDownloading {
                for _ in 0..<40 {
                    let report = try await trace("-c", "1")
                    let way = try #require(report.segments[0].backward)
                    sent += way.sent
                    received += way.received
                }
            }
            print("trace: the guard sent \(sent) cells of a download, \(received) were received")
            #expect(sent > 1_000)
            #expect(Double(received) > 0.8 * Double(sent))
        }

        @Test("ping shows what is lost, and every hop's 99th percentile")
        func ping() async throws {
            try await lab.connect()
            let outcome = try await lab.umbel("ping", "-c", "20", "--json")
            let report = try JSONDecoder().decode(PingReport.self, from: Data(outcome.output.utf8))
            #expect(report.hops.count == 3)
            for hop in report.hops {
                #expect(hop.loss == 0)
                let longest = try #require(hop.maximum)
                #expect(try #require(hop.percentile99) <= longest)
            }
        }

        @Test("explain names the addresses the circuit really has")
        func explanation() async throws {
            try await lab.connect()
            let used = try #require(try await lab.circuits().first { $0.state == .active })
            let outcome = try await lab.umbel("explain", "\(used.id)", "--json")
            try #require(outcome.status == 0, "\(outcome.message)")
            let report = try JSONDecoder().decode(
                ExplainReport.self,
                from: Data(outcome.output.utf8)
            )
            let guardRelay = try #require(report.parties.first { $0.role == .guardRelay })
            let isOurs = ["198.51.100.10", "2001:db8:c::10"].contains(guardRelay.addresses[0])
            #expect(isOurs, "\(guardRelay.addresses)")
            #expect(guardRelay.addresses[1] == used.hops[1].address)
            let exit = try #require(report.parties.first { $0.role == .exit })
            #expect(exit.addresses[0] == used.hops[1].address)
        }
    }
}
