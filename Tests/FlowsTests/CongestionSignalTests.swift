import Base
import Flows
import Testing
import Wire

@Suite("Signals of congestion")
struct CongestionSignalTests {
    /// Applies the signal to a packet; whether it goes on, and its ECN field then.
    private func apply(
        _ signal: inout CongestionSignal,
        to maker: PacketMaker,
        at milliseconds: UInt64
    ) throws -> (goesOn: Bool, ecn: UInt8) {
        var bytes = maker.bytes
        let range = 0..<bytes.count
        return try bytes.withArena { arena throws in
            let header = try IPHeader(parsing: arena.bytes, range)
            let goesOn = signal.apply(
                by: header,
                packetOffset: 0,
                in: &arena,
                now: Instant(nanoseconds: milliseconds * 1_000_000)
            )
            return (goesOn, try IPHeader(parsing: arena.bytes, range).ecn)
        }
    }

    private func packet(isV6: Bool, ecn: UInt8, byteCount: Int) -> PacketMaker {
        var maker = PacketMaker(isV6: isV6, payload: Array(repeating: 7, count: byteCount))
        maker.trafficClass = 0b1011_0000 | ecn
        return maker
    }

    @Test("a sender that understands marks gets one, and loses nothing", arguments: [false, true])
    func marks(isV6: Bool) throws {
        var signal = CongestionSignal()
        for ecn: UInt8 in 1...3 {
            for byteCount in [0, 1_000] {
                let packet = packet(isV6: isV6, ecn: ecn, byteCount: byteCount)
                let outcome = try apply(&signal, to: packet, at: 1)
                #expect(outcome.goesOn)
                #expect(outcome.ecn == 3)
            }
        }
    }

    @Test("one that does not loses a large packet, and the next at the earliest 10 ms later")
    func drops() throws {
        var signal = CongestionSignal()
        let large = packet(isV6: false, ecn: 0, byteCount: 1_000)
        var lost: [UInt64] = []
        for time: UInt64 in 1...30 {
            let outcome = try apply(&signal, to: large, at: time)
            #expect(outcome.ecn == 0)
            if !outcome.goesOn { lost.append(time) }
        }
        #expect(lost == [1, 11, 21])
    }

    @Test("small packets go on, and do not use the signal up")
    func small() throws {
        var signal = CongestionSignal()
        let small = packet(isV6: false, ecn: 0, byteCount: 100)
        let header = try IPHeader(parsing: small.bytes.span.bytes, 0..<small.bytes.count)
        #expect(!CongestionSignal.canTell(header))
        for time: UInt64 in 1...5 { #expect(try apply(&signal, to: small, at: time).goesOn) }
        let large = packet(isV6: false, ecn: 0, byteCount: 1_000)
        #expect(try !apply(&signal, to: large, at: 5).goesOn)
    }
}
