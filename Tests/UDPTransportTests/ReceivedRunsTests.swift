import Base
import Testing

@testable import UDPTransport

@Suite("Runs and refusals as values")
struct ReceivedRunsTests {
    private func address(_ number: Int) -> SocketAddress {
        SocketAddress(ip: IPAddress(v4: 0x0a00_0000 + UInt32(number)), port: 1)
    }

    @Test("a set of runs keeps its storage when it is emptied and filled again")
    func reuse() {
        var runs = ReceivedRuns(capacity: 16)
        var places: Set<UInt> = []
        for _ in 0..<3 {
            for index in 0..<16 {
                let run = ReceivedRun(
                    source: address(index),
                    offset: 0,
                    byteCount: 1,
                    segmentByteCount: 1
                )
                runs.append(run)
            }
            places.insert(runs.runs.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) })
            runs.removeAll()
        }
        #expect(places.count == 1)
    }

    @Test(
        "a run counts its short last datagram and an empty one",
        arguments: [(0, 1, 1), (1, 1, 1), (100, 50, 2), (101, 50, 3), (99, 50, 2)]
    )
    func runs(byteCount: Int, segment: Int, count: Int) {
        let run = ReceivedRun(
            source: address(1),
            offset: 0,
            byteCount: byteCount,
            segmentByteCount: segment
        )
        #expect(run.datagramCount == count)
    }

    @Test("a refusal lapses after a minute, and the seventeenth displaces the oldest")
    func refusals() {
        var refusals = SegmentationRefusals()
        for number in 0..<16 {
            refusals.insert(address(number).ip, now: Instant(nanoseconds: UInt64(number)))
        }
        let now = Instant(nanoseconds: 20)
        #expect((0..<16).allSatisfy { refusals.contains(address($0).ip, now: now) })
        refusals.insert(address(0).ip, now: now)
        refusals.insert(address(16).ip, now: now)
        #expect(!refusals.contains(address(1).ip, now: now), "0 was renewed, so 1 was the oldest")
        #expect(refusals.contains(address(0).ip, now: now))
        #expect(refusals.contains(address(16).ip, now: now))
        #expect(!refusals.contains(address(16).ip, now: now + .seconds(60)))
        #expect(refusals.contains(address(16).ip, now: now + .milliseconds(59_999)))
    }
}
