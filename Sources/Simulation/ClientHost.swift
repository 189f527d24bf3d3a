public import Base
public import ClientCore
import Flows

/// What is behind one TUN device of a client: flows, streams and pings.
public final class ClientHost: Host {
    /// An echo request and what became of it.
    public struct Ping: Sendable {
        /// When it was sent.
        public let sent: Instant
        /// When the answer came; `nil` while it has not.
        public internal(set) var answered: Instant?
    }

    /// The tunnel.
    public let tunnel: TunnelID
    unowned let node: ClientNode
    /// Its UDP flows.
    public private(set) var flows: [DatagramFlow] = []
    /// Its streams.
    public private(set) var streams: [Stream] = []
    /// Those with something to do.
    private var running: [Stream] = []
    /// Places in ``streams``, by port.
    private var byPort: [UInt16: Int] = [:]
    /// Its echo requests.
    public private(set) var pings: [Ping] = []
    /// Answers "administratively prohibited" that came.
    public private(set) var prohibitedCount = 0
    private let pingFlow: UInt32

    init(index: Int, world: World, node: ClientNode, tunnel: TunnelID) {
        self.tunnel = tunnel
        self.node = node
        pingFlow = world.takeFlowNumber()
        super.init(index: index, world: world)
    }

    /// Packets of all flows that were sent.
    public private(set) var sentCount: UInt64 = 0
    /// Packets of all flows that were answered.
    public private(set) var answeredCount: UInt64 = 0

    /// Forgets flows that are over; what of them still comes is a stranger's.
    public func endFlows(where isOver: (DatagramFlow) -> Bool) {
        for flow in flows where isOver(flow) { world.forget(flow) }
        flows.removeAll(where: isOver)
    }

    /// Starts a flow of UDP packets now.
    @discardableResult
    public func startFlow(_ settings: DatagramFlow.Settings = .init()) -> DatagramFlow {
        let flow = DatagramFlow(id: world.takeFlowNumber(), settings: settings, start: world.now)
        flows.append(flow)
        world.register(flow, host: self)
        plan()
        return flow
    }

    /// Starts a stream now.
    @discardableResult
    public func startStream(_ settings: Stream.Settings = .init()) -> Stream {
        let stream = Stream(id: world.takeFlowNumber(), settings: settings, now: world.now)
        byPort[stream.port] = streams.count
        streams.append(stream)
        running.append(stream)
        world.internet.register(stream)
        plan()
        return stream
    }

    /// Sends an echo request now.
    public func ping(isV6: Bool = false) {
        var packet = Packet(
            isV6 ? .icmpV6 : .icmp,
            from: own(isV6),
            to: InternetHost.address(isV6)
        )
        packet.sourcePort = isV6 ? 128 : 8
        packet.destinationPort = UInt16(1_024 + pingFlow)
        packet.sequence = UInt32(pings.count)
        packet.payload = Pattern.payload(
            flow: pingFlow,
            number: UInt32(pings.count),
            isAnswer: false,
            byteCount: 64
        )
        pings.append(Ping(sent: world.now))
        node.write([Offload.plain(packet.encoded)], tunnel: tunnel)
    }

    /// Sends one UDP packet to any address; no answer is expected.
    public func send(to destination: IPAddress, port: UInt16) {
        var packet = Packet(.udp, from: own(!destination.isV4), to: destination)
        packet.sourcePort = UInt16(1_024 + pingFlow)
        packet.destinationPort = port
        packet.payload = [UInt8](repeating: 0, count: 32)
        node.write([Offload.plain(packet.encoded)], tunnel: tunnel)
    }

    override var nextDeadline: Instant {
        var deadline = Instant.distantFuture
        for flow in flows { deadline = min(deadline, flow.nextDeadline) }
        for stream in running {
            deadline = min(
                deadline,
                stream.settings.isDownload ? stream.receiverDeadline : stream.senderDeadline
            )
        }
        return deadline
    }

    override func act() {
        var packets: [TunInput] = []
        for flow in flows where flow.nextDeadline <= world.now { send(flow, &packets) }
        running.removeAll { $0.settings.isDownload ? $0.isFinished : $0.isSent }
        for stream in running {
            let isV6 = stream.settings.isV6
            let (own, other) = (own(isV6), InternetHost.address(isV6))
            if stream.settings.isDownload {
                guard stream.receiverDeadline <= world.now else { continue }
                packets.append(
                    acknowledgement(of: stream, from: own, stream.port, to: other, 80)
                )
            } else if stream.senderDeadline <= world.now {
                let runs = stream.takeDue(
                    now: world.now,
                    mayMerge: world.settings.usesOffload
                )
                packets += self.packets(
                    of: stream,
                    runs: runs,
                    from: own,
                    stream.port,
                    to: other,
                    80
                )
            }
        }
        node.write(packets, tunnel: tunnel)
    }

    func receive(_ written: [UInt8]) {
        let packets: [Packet]
        do throws(Offload.Fault) {
            packets = try Offload.split(written)
        } catch {
            return world.checker.note("a client's TUN device was given \(error)")
        }
        var answers: [TunInput] = []
        for packet in packets {
            guard packet.destination == own(packet.isV6) else {
                world.checker.note("a packet for \(packet.destination) came out of a tunnel")
                continue
            }
            switch packet.transport {
            case .udp: receiveDatagram(packet)
            case .tcp: receiveSegment(packet, &answers)
            case .icmp, .icmpV6: receiveMessage(packet)
            }
        }
        node.write(answers, tunnel: tunnel)
        plan()
    }

    private func own(_ isV6: Bool) -> IPAddress {
        isV6
            ? AddressPair.Tunnel.client.v6 ?? AddressPair.Tunnel.client.v4
            : AddressPair.Tunnel.client.v4
    }

    private func send(_ flow: DatagramFlow, _ packets: inout [TunInput]) {
        let settings = flow.settings
        for _ in 0..<min(settings.burst, settings.count - flow.sentCount) {
            var packet = Packet(
                .udp,
                from: own(settings.isV6),
                to: InternetHost.address(settings.isV6)
            )
            packet.ecn = settings.understandsMarks ? 2 : 0
            packet.sourcePort = flow.port
            packet.destinationPort = 7_777
            packet.payload = Pattern.payload(
                flow: flow.id,
                number: flow.sentCount,
                isAnswer: false,
                byteCount: settings.byteCount
            )
            packets.append(Offload.plain(packet.encoded))
            flow.noteSent(at: world.now)
            sentCount += 1
        }
        flow.due = world.now + settings.interval
    }

    private func receiveDatagram(_ packet: Packet) {
        guard let claim = Pattern.proven(packet.payload), claim.isAnswer else {
            return world.checker.note("an altered packet came out of a tunnel")
        }
        guard let flow = flows.first(where: { $0.id == claim.flow }) else {
            return world.checker.note("flow \(claim.flow) came out of another's tunnel")
        }
        guard packet.destinationPort == flow.port, claim.number < flow.sentCount else {
            return world.checker.note("flow \(claim.flow) came under another port")
        }
        guard world.checker.isFirst(flow: flow.id, number: claim.number, isAnswer: true) else {
            return world.checker.note("answer \(claim.number) of flow \(flow.id) came twice")
        }
        let now = world.now
        flow.longestGap = max(flow.longestGap, now - (flow.lastAnswer ?? flow.firstSent ?? now))
        flow.lastAnswer = now
        flow.answeredCount += 1
        answeredCount += 1
        if packet.ecn == 3 { flow.markedAnswerCount += 1 }
        if let sent = flow.sent(claim.number) { world.noteRoundTrip(now - sent) }
    }

    private func receiveSegment(_ packet: Packet, _ answers: inout [TunInput]) {
        guard let place = byPort[packet.destinationPort] else {
            return world.checker.note("a segment came out of another's tunnel")
        }
        let stream = streams[place]
        if stream.settings.isDownload {
            guard !packet.payload.isEmpty else { return }
            let isRight = stream.receiveSegment(
                at: Int(packet.sequence),
                packet.payload,
                now: world.now
            )
            guard isRight else { return world.checker.note("stream \(stream.id) was altered") }
            answers.append(
                acknowledgement(
                    of: stream,
                    from: own(packet.isV6),
                    stream.port,
                    to: packet.source,
                    80
                )
            )
        } else if let map = Self.map(of: packet) {
            stream.receiveAcknowledgement(
                first: Int(packet.acknowledged),
                map: map,
                now: world.now
            )
        }
    }

    private func receiveMessage(_ packet: Packet) {
        switch packet.sourcePort {
        case packet.isV6 ? 129 : 0:
            guard let claim = Pattern.proven(packet.payload), claim.flow == pingFlow,
                Int(claim.number) < pings.count
            else { return world.checker.note("an altered echo reply came out of a tunnel") }
            guard pings[Int(claim.number)].answered == nil else {
                return world.checker.note("echo reply \(claim.number) came twice")
            }
            pings[Int(claim.number)].answered = world.now
        case packet.isV6 ? 1 : 3:
            prohibitedCount += 1
        default:
            world.checker.note("an ICMP message of type \(packet.sourcePort) came out of a tunnel")
        }
    }
}
