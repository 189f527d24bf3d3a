public import Base
import ClientCore
import Flows

/// The hosts behind all exits: they answer UDP packets and echo requests and serve streams.
public final class InternetHost: Host {
    private var streams: [Stream] = []
    /// Downloads that were asked for and are not wholly acknowledged.
    private var running: [Stream] = []
    private var byPort: [UInt16: Int] = [:]
    /// Exits whose resolvers answer nothing.
    public var deafResolvers: Set<Int> = []
    /// The exits whose resolvers were asked, one entry for each packet.
    public private(set) var askedResolvers: [Int] = []
    /// Packets that came out of exits.
    public private(set) var receivedPackets: UInt64 = 0

    /// Where they are.
    public static func address(_ isV6: Bool) -> IPAddress {
        isV6
            ? IPAddress(high: 0x2600_1f00_0000_0000, low: 1) : IPAddress(v4: 0x2d0a_0001)
    }

    func register(_ stream: Stream) {
        byPort[stream.port] = streams.count
        streams.append(stream)
    }

    override var nextDeadline: Instant {
        var deadline = Instant.distantFuture
        for stream in running { deadline = min(deadline, stream.senderDeadline) }
        return deadline
    }

    override func act() {
        running.removeAll(where: \.isSent)
        for stream in running {
            guard let peer = stream.peer, stream.senderDeadline <= world.now else { continue }
            let runs = stream.takeDue(now: world.now, mayMerge: world.settings.usesOffload)
            let packets = packets(
                of: stream,
                runs: runs,
                from: Self.address(stream.settings.isV6),
                80,
                to: peer,
                stream.port
            )
            for packet in packets { world.enterExit(stream.peerExit, packet) }
        }
    }

    func receive(_ bytes: [UInt8], exit: Int) {
        receivedPackets += 1
        let packet: Packet
        do throws(Packet.Fault) {
            packet = try Packet(parsing: bytes)
        } catch {
            return world.checker.note("exit \(exit) let a packet out that is none: \(error)")
        }
        guard world.exit(of: packet.source) == exit else {
            return world.checker.note("exit \(exit) let a packet of \(packet.source) out")
        }
        if packet.destination == AddressPair.Tunnel.resolver.v4
            || packet.destination == AddressPair.Tunnel.resolver.v6
        {
            return answerName(packet, exit: exit)
        }
        guard packet.destination == Self.address(packet.isV6) else {
            return world.checker.note("exit \(exit) let a packet to \(packet.destination) out")
        }
        switch packet.transport {
        case .udp: answerDatagram(packet, exit: exit)
        case .tcp: receiveSegment(packet, exit: exit)
        case .icmp, .icmpV6: answerEcho(packet, exit: exit)
        }
    }

    /// Answers a question for a name, as the resolver of an exit that has one.
    private func answerName(_ packet: Packet, exit: Int) {
        guard packet.destinationPort == 53, packet.payload.count >= 12 else {
            return world.checker.note("exit \(exit) let something else to its resolver")
        }
        askedResolvers.append(exit)
        guard !deafResolvers.contains(exit) else { return }
        var answer = Packet(.udp, from: packet.destination, to: packet.source)
        answer.sourcePort = packet.destinationPort
        answer.destinationPort = packet.sourcePort
        // The question's number, "this is an answer", and the question itself.
        answer.payload = Array(packet.payload.prefix(2)) + [0x81, 0x80]
        answer.payload += packet.payload[4..<12]
        world.enterExit(exit, Offload.plain(answer.encoded))
    }

    private func answerDatagram(_ packet: Packet, exit: Int) {
        guard let claim = Pattern.proven(packet.payload), !claim.isAnswer,
            let flow = world.flow(claim.flow), packet.sourcePort == flow.port
        else { return world.checker.note("exit \(exit) let an altered packet out") }
        guard world.checker.isFirst(flow: flow.id, number: claim.number, isAnswer: false) else {
            return world.checker.note("packet \(claim.number) of flow \(flow.id) came twice")
        }
        flow.arrivedCount += 1
        flow.arrivals.insert(claim.number)
        if packet.ecn == 3 { flow.markedArrivalCount += 1 }
        if flow.leases.last != packet.source { flow.leases.append(packet.source) }
        var answer = Packet(.udp, from: packet.destination, to: packet.source)
        answer.ecn = flow.settings.understandsMarks ? 2 : 0
        answer.sourcePort = packet.destinationPort
        answer.destinationPort = packet.sourcePort
        answer.payload = Pattern.payload(
            flow: claim.flow,
            number: claim.number,
            isAnswer: true,
            byteCount: flow.settings.answerByteCount
        )
        world.enterExit(exit, Offload.plain(answer.encoded))
    }

    private func receiveSegment(_ packet: Packet, exit: Int) {
        guard let index = byPort[packet.sourcePort] else {
            return world.checker.note("exit \(exit) let a segment of no stream out")
        }
        let stream = streams[index]
        if stream.peer == nil {
            stream.peer = packet.source
            stream.peerExit = exit
            if stream.settings.isDownload { running.append(stream) }
        }
        guard stream.peer == packet.source else {
            // A connection ends with its address.
            stream.strayCount += 1
            return
        }
        if !stream.settings.isDownload {
            guard !packet.payload.isEmpty else { return }
            let isRight = stream.receiveSegment(
                at: Int(packet.sequence),
                packet.payload,
                now: world.now
            )
            guard isRight else { return world.checker.note("stream \(stream.id) was altered") }
            world.enterExit(
                exit,
                acknowledgement(
                    of: stream,
                    from: packet.destination,
                    80,
                    to: packet.source,
                    stream.port
                )
            )
        } else if let map = Self.map(of: packet) {
            stream.receiveAcknowledgement(
                first: Int(packet.acknowledged),
                map: map,
                now: world.now
            )
            plan()
        }
    }

    private func answerEcho(_ packet: Packet, exit: Int) {
        guard packet.sourcePort == (packet.isV6 ? 128 : 8),
            let claim = Pattern.proven(packet.payload)
        else {
            // An audit's echo bears bytes of its own.
            guard world.settings.client.auditShare > 0 else {
                return world.checker.note("exit \(exit) let an altered echo request out")
            }
            return reflect(packet, exit: exit)
        }
        guard world.checker.isFirst(flow: claim.flow, number: claim.number, isAnswer: false) else {
            return world.checker.note("echo request \(claim.number) came twice")
        }
        reflect(packet, exit: exit)
    }

    private func reflect(_ packet: Packet, exit: Int) {
        var answer = packet
        (answer.source, answer.destination) = (packet.destination, packet.source)
        answer.sourcePort = packet.isV6 ? 129 : 0
        world.enterExit(exit, Offload.plain(answer.encoded))
    }
}
