import Base
import Circuits
import CryptoPrimitives
import Directory
import Flows
import Paths
import Wire

/// Finds out whether an exit does what it is for, before flows are given to it.
///
/// A name is asked of its resolver in packets as large as any the tunnel takes, over each family the
/// exit gave addresses of. One answer is enough, for an exit may have a resolver of one family only:
/// it carries large packets out and answers back, and it resolves names. Asked again until an answer
/// comes or the time is over.
struct ExitProbe {
    /// What came of it.
    enum Verdict: Equatable {
        case waiting, passed
        /// Nothing came back, or a resolver that fails.
        case failed
    }

    private static let interval: TimeSpan = .milliseconds(300)
    private static let tryLimit = 8
    private static let port: UInt16 = 53
    /// Bytes of the question: the most resolvers take, and IPv6's least MTU with its headers.
    static let questionByteCount = 1_232

    private let source: UInt16
    private let number: UInt16
    private let families: UInt8
    private var isAnswered = false
    private var tries = 0
    private(set) var nextDeadline: Instant

    /// Begins to ask over the families named: bit 0 is IPv4, bit 1 IPv6.
    init(families: UInt8, random: UInt64, now: Instant) {
        self.families = families
        source = 0xc000 | UInt16(truncatingIfNeeded: random & 0x3fff)
        number = UInt16(truncatingIfNeeded: random >> 16)
        nextDeadline = now
    }

    var verdict: Verdict {
        if isAnswered { return .passed }
        return tries > Self.tryLimit ? .failed : .waiting
    }

    /// The packets to send at `now`; none before ``nextDeadline`` and once there is a verdict.
    mutating func packets(now: Instant) -> [[UInt8]] {
        guard verdict == .waiting, now >= nextDeadline else { return [] }
        tries += 1
        nextDeadline = now + Self.interval
        guard verdict == .waiting else { return [] }
        return [false, true].filter { families & ($0 ? 2 : 1) != 0 }.map { packet(isV6: $0) }
    }

    /// Takes the beginning of a packet that came back.
    mutating func receive(_ packet: [UInt8]) {
        let bytes = unsafe packet.span.bytes
        guard let header = try? IPHeader(parsing: bytes, 0..<packet.count),
            header.protocolNumber == IPProtocol.udp, header.source == resolver(header.isV6),
            packet.count >= header.transportOffset + 8 + Self.headerByteCount
        else { return }
        let transport = header.transportOffset
        let answer = transport + 8
        guard bytes.loadBigEndian(at: transport, as: UInt16.self) == Self.port,
            bytes.loadBigEndian(at: transport + 2, as: UInt16.self) == source,
            bytes.loadBigEndian(at: answer, as: UInt16.self) == number
        else { return }
        let flags = bytes.loadBigEndian(at: answer + 2, as: UInt16.self)
        // An answer, and not that the resolver itself fails.
        guard flags & 0x8000 != 0, flags & 0x000f != Self.serverFailure else { return }
        isAnswered = true
    }

    private static let headerByteCount = 12
    private static let serverFailure: UInt16 = 2

    private func resolver(_ isV6: Bool) -> IPAddress? {
        isV6 ? AddressPair.Tunnel.resolver.v6 : AddressPair.Tunnel.resolver.v4
    }

    /// The question for the root's servers, padded (RFC 1035 §4, RFC 7830).
    private var question: [UInt8] {
        let padding = Self.questionByteCount - 32
        var bytes = Self.big(number) + [1, 0] + [0, 1, 0, 0, 0, 0, 0, 1]
        bytes += [0, 0, 2, 0, 1]
        bytes += [0, 0, 41] + Self.big(UInt16(Self.questionByteCount)) + [0, 0, 0, 0]
        bytes += Self.big(UInt16(padding + 4)) + [0, 12] + Self.big(UInt16(padding))
        return bytes + [UInt8](repeating: 0, count: padding)
    }

    private func packet(isV6: Bool) -> [UInt8] {
        let question = question
        let length = UInt16(8 + question.count)
        var bytes: [UInt8]
        if isV6 {
            bytes = [0x60, 0, 0, 0] + Self.big(length) + [17, 64]
            bytes += AddressPair.Tunnel.client.v6?.bytes ?? []
            bytes += AddressPair.Tunnel.resolver.v6?.bytes ?? []
        } else {
            bytes = [0x45, 0] + Self.big(20 + length) + [0, 0, 0x40, 0, 64, 17, 0, 0]
            bytes += AddressPair.Tunnel.client.v4.bytes.suffix(4)
            bytes += AddressPair.Tunnel.resolver.v4.bytes.suffix(4)
            var sum = InternetChecksum()
            sum.add(unsafe bytes.span.bytes, 0..<bytes.count)
            bytes.replaceSubrange(10..<12, with: Self.big(sum.complement))
        }
        let transport = bytes.count
        bytes += Self.big(source) + Self.big(Self.port) + Self.big(length) + [0, 0] + question
        var sum = InternetChecksum()
        sum.addPseudoHeader(
            unsafe bytes.span.bytes,
            packetOffset: 0,
            isV6: isV6,
            protocolNumber: 17,
            byteCount: Int(length)
        )
        sum.add(unsafe bytes.span.bytes, transport..<bytes.count)
        bytes.replaceSubrange(transport + 6..<transport + 8, with: Self.big(sum.udpComplement))
        return bytes
    }

    private static func big(_ number: UInt16) -> [UInt8] {
        [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)]
    }
}

extension ClientControl {
    /// Exits in a row that may fail their probe before one is taken as it is: better an exit that
    /// resolves nothing than none.
    private static let probeFailureLimit = 3

    /// Whether flows may be given to the exit of `id`, which has given addresses; begins to find out
    /// where it is to.
    mutating func isProbed(_ id: CircuitID, families: UInt8, now: Instant) -> Bool {
        guard settings.probesExits, let circuit = circuits[id],
            let tunnel = tunnels[circuit.tunnel], circuit.lease == nil,
            tunnel.connectedSince != nil,
            tunnel.probeFailures < Self.probeFailureLimit
        else { return true }
        if circuit.probe?.verdict == .passed {
            tunnels[circuit.tunnel]?.probeFailures = 0
            return true
        }
        if circuit.probe == nil {
            circuits[id]?.probe = ExitProbe(families: families, random: random.next(), now: now)
            advanceProbe(id, now: now)
        }
        return false
    }

    /// Sends what the probe of `id` has to send, and ends it where it is decided.
    mutating func advanceProbe(_ id: CircuitID, now: Instant) {
        for packet in circuits[id]?.probe?.packets(now: now) ?? [] {
            commands.append(.sendProbe(id, packet))
        }
        guard circuits[id]?.probe?.verdict == .failed, let circuit = circuits[id] else { return }
        let failures = tunnels[circuit.tunnel]?.probeFailures ?? 0
        tunnels[circuit.tunnel]?.probeFailures = failures + 1
        fail(id, culprit: .exit, reason: "the exit resolves no names", now: now)
    }

    /// Takes the beginning of a packet that came over a circuit whose exit is being probed.
    mutating func receiveProbe(_ bytes: [UInt8], of id: CircuitID, now: Instant) {
        circuits[id]?.probe?.receive(bytes)
        guard circuits[id]?.probe?.verdict == .passed, let answer = circuits[id]?.opened else {
            return
        }
        circuits[id]?.opened = nil
        finishOpened(answer, over: id, now: now)
    }
}
