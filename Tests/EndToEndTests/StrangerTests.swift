import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What a relay does for those who have no business with it.
    ///
    /// Test matrix rows 9 and 10.
    @Suite("Strangers at a relay", .lab())
    struct Strangers {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func address(of relay: String) throws -> SocketAddress {
            let number = try #require(relay.dropFirst().first.flatMap { UInt32(String($0)) })
            return SocketAddress(ip: IPAddress(v4: 0xc612_000a + number << 8), port: 4_433)
        }

        private func residentKilobytes(_ relay: String) throws -> Int {
            let pid = try lab.pid(relay)
            let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            return try #require(line?.split(separator: " ").dropFirst().first.flatMap { Int($0) })
        }

        /// Waits until the client has the circuits it wants: no relay is about to open a link.
        private func rest(until earliest: ContinuousClock.Instant = .now) async throws {
            try await eventually("the network is at rest") {
                guard .now >= earliest else { return false }
                let states = try await lab.circuits().map(\.state.rawValue).sorted()
                return states == ["active", "spare"]
            }
        }

        private func socket() throws -> NativeSocket {
            try NativeSocket(
                lab,
                host: "stranger",
                family: AF_INET,
                type: Int32(SOCK_DGRAM.rawValue)
            )
        }

        @Test("row 10: 100 000 datagrams of garbage get no byte back, no log line and no memory")
        func garbage() async throws {
            try await lab.connect()
            let relay = "r1"
            let target = try address(of: relay)
            let wiretap = try Wiretap(lab, host: relay)
            let socket = try socket()
            var generator = SplitMix(state: 10)

            // What the relay does send to others is seen.
            try await lab.expectAnswer(from: "203.0.113.10")
            try await rest()
            let before = try await lab.relay(relay)
            let dropped = before.drops.values.reduce(0, +)
            func send(_ count: Int) {
                for round in 0..<count {
                    let size = round % 2 == 0 ? 1_392 : Int(generator.next() % 1_473)
                    var bytes = [UInt8](repeating: 0, count: size)
                    for index in stride(from: 0, to: size, by: 8) {
                        let word = generator.next()
                        for offset in 0..<min(8, size - index) {
                            bytes[index + offset] = UInt8(truncatingIfNeeded: word >> (8 * offset))
                        }
                    }
                    // A session number of 0 says: handshake.
                    if round % 4 == 0 { bytes.replaceSubrange(0..<4, with: [0, 0, 0, 0]) }
                    socket.send(bytes, to: target)
                }
            }
            // The first of each kind let tables grow to what they need.
            send(1_000)
            let memory = try residentKilobytes(relay)
            let log = lab.log(relay)
            let begin = ContinuousClock.now
            // What comes too fast for its socket is lost there: more is sent until it has seen enough.
            try await eventually("the relay has seen 100 000 and counts what it drops") {
                send(10_000)
                return try await lab.relay(relay).drops.values.reduce(0, +) > dropped + 100_000
            }
            let elapsed = ContinuousClock.now - begin
            let counted = try await lab.relay(relay).drops.values.reduce(0, +) - dropped
            let growth = try residentKilobytes(relay) - memory
            print("row 10: \(counted) counted in \(elapsed), memory +\(growth) KiB")
            #expect(growth < 4_096)
            #expect(lab.log(relay) == log)
            let toStranger = wiretap.packets().filter { $0.destination.v4 == 0xc612_6309 }
            #expect(toStranger.map(\.text) == [])
            let after = try await lab.relay(relay)
            #expect(after.links <= before.links)
            try await lab.expectAnswer(from: "203.0.113.10")
        }

        /// The client's datagrams to `target`, trains taken apart.
        private func datagrams(_ wiretap: Wiretap, to target: SocketAddress) -> [[UInt8]] {
            wiretap.packets()
                .filter { $0.destination == target.ip && $0.destinationPort == target.port }
                .flatMap { packet in
                    stride(from: 0, to: packet.payload.count, by: 1_392).map {
                        Array(packet.payload[$0..<min($0 + 1_392, packet.payload.count)])
                    }
                }
        }

        @Test("row 9: an initiation and the cells behind it, sent again, open and close nothing")
        func replays() async throws {
            try await lab.disconnect()
            let wiretap = try Wiretap(lab, host: "client")
            let socket = try socket()
            let stranger = IPAddress(v4: 0xc612_6309)
            var target = SocketAddress(ip: stranger, port: 4_433)
            var relay = ""
            var asked = ContinuousClock.now
            try await lab.cutOff {
                let up = try await lab.umbel("up")
                #expect(up.status == 0)
                let isInitiation = { (packet: Wiretap.Packet) in
                    packet.isUDP && packet.destinationPort == 4_433
                        && packet.payload.starts(with: [0, 0, 0, 0])
                }
                try await eventually("the client opens a link") {
                    wiretap.packets().contains(where: isInitiation)
                }
                let first = try #require(wiretap.packets().first(where: isInitiation))
                target.ip = first.destination
                relay = "r\(first.destination.bytes[14])"
                // Answers can be seen: this initiation has never reached its relay.
                let answers = try Wiretap(lab, host: relay)
                socket.send(first.payload, to: target)
                asked = .now
                try await eventually("what is new gets an answer") {
                    answers.packets().contains { $0.destination == stranger }
                }
            }
            try await lab.connect()
            // The link the stranger could not confirm is forgotten 5 s later.
            try await rest(until: asked + .seconds(6))
            let before = try await lab.relay(relay)
            let old = datagrams(wiretap, to: target)
            let sessions = old.filter { !$0.starts(with: [0, 0, 0, 0]) }
            #expect(sessions.count >= 2)
            #expect(sessions.count < old.count)
            let source = try #require(
                wiretap.packets().last { $0.destination == target.ip && $0.isUDP }
            )

            let answers = try Wiretap(lab, host: relay)
            // From another port: the one above may have its answer repeated for ten seconds.
            let other = try self.socket()
            for datagram in old + old { other.send(datagram, to: target) }
            // And once more as if it came from the client itself.
            let raw = try NativeSocket(
                lab,
                host: "core",
                family: AF_INET,
                type: Int32(SOCK_RAW.rawValue),
                number: 255
            )
            let claim = SocketAddress(ip: source.source, port: source.sourcePort)
            for datagram in old {
                raw.send(RawPacket.udp(datagram, from: claim, to: target), to: target)
            }
            let replayed = before.drops["link_replayed"] ?? 0
            try await eventually("each copy is dropped as one") {
                let drops = try await lab.relay(relay).drops
                return drops["link_replayed"] ?? 0 >= replayed + UInt64(sessions.count * 3)
            }
            let isUnmoved = try await holds(for: .milliseconds(500)) {
                let now = try await lab.relay(relay)
                return now.links == before.links && now.circuits == before.circuits
            }
            #expect(isUnmoved)
            let toStranger = answers.packets().filter { $0.destination == stranger }
            #expect(toStranger.map(\.text) == [])
            // The link is where it was: the next packet goes and comes at once.
            try await lab.expectAnswer(from: "203.0.113.10")
        }
    }
}

/// A generator with a seed, for bytes that mean nothing.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}
