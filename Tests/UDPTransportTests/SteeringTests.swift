import Base
import EventLoop
import Testing
import UDPTransport

@Suite("Sockets that share a port", .timeLimit(.minutes(1)))
struct SteeringTests {
    /// A datagram whose word at 0 is `session` and whose word at 8 is `proposed`.
    private func datagram(_ session: UInt32, _ proposed: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Peer.datagramByteCount)
        for (offset, word) in [(0, session), (8, proposed)] {
            for place in 0..<4 {
                bytes[offset + place] = UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32(place)))
            }
        }
        return bytes
    }

    private func words(_ datagrams: [Peer.Datagram]) -> Set<[UInt8]> {
        Set(datagrams.map { [$0.bytes[3], $0.bytes[11]] })
    }

    @Test("a datagram goes where its session number says, a handshake where its own number says")
    func steer() throws {
        var first = try Peer("127.0.0.1:0")
        try first.socket.sharePort()
        var second = try Peer("\(first.address)") { $0.reusesPort = true }
        var third = try Peer("\(first.address)") { $0.reusesPort = true }
        try third.socket.steer(byWordAt: 0, orAt: 8, count: 3)
        // Many senders, so that the kernel's own choice, a hash of addresses, would be another.
        for sender in 0..<12 as Range<UInt32> {
            var peer = try Peer("127.0.0.1:0") { $0.segments = false }
            peer.send(
                [datagram(3 + sender * 3, 0), datagram(4 + sender * 3, 0)],
                to: first.address
            )
            peer.send([datagram(0, 5 + sender * 3)], to: first.address)
        }
        #expect(words(try first.collect(12)) == Set((0..<12).map { [3 + $0 * 3, 0] }))
        #expect(words(try second.collect(12)) == Set((0..<12).map { [4 + $0 * 3, 0] }))
        #expect(words(try third.collect(12)) == Set((0..<12).map { [0, 5 + $0 * 3] }))
    }

    @Test("one who does not share finds the port taken, and shares it only afterwards")
    func firstComesAlone() throws {
        let first = try Peer("127.0.0.1:0")
        #expect(throws: IOError.self) {
            _ = try Peer("\(first.address)") { $0.reusesPort = true }
        }
        try first.socket.sharePort()
        _ = try Peer("\(first.address)") { $0.reusesPort = true }
        #expect(throws: IOError.self) { _ = try Peer("\(first.address)") }
    }
}
