import Base
import EventLoop
import Glibc
import NamespaceSupport
import Testing
import TunDevice
import UDPTransport

@Suite(
    "Packets through a TUN interface",
    .enabled("\(TunHarness.whyUnavailable ?? "")") { TunHarness.whyUnavailable == nil },
    .timeLimit(.minutes(1))
)
struct TunDeviceTests {
    private let there = SocketAddress(ip: IPAddress(v4: TunHarness.outside), port: 9)
    private let here = SocketAddress(ip: IPAddress(v4: TunHarness.inside), port: 7)

    /// Sends `count` datagrams of 1200 bytes from the namespace to the test's address.
    private func sendTrain(_ count: Int, from socket: inout UDPSocket) -> [UInt8] {
        let bytes = (0..<count * 1_200).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ $0 >> 9) }
        var trains = DatagramTrains()
        for index in 0..<count { trains.append(Int32(index * 1_200)) }
        trains.endTrain(to: there)
        socket.send(trains, datagramByteCount: 1_200, from: bytes.span.bytes, now: .zero)
        return bytes
    }

    /// A socket in the namespace at ``here``.
    private func socket(in namespace: NetworkNamespace) throws -> UDPSocket {
        let here = here
        return try namespace.inside { try UDPSocket(bindingTo: here, options: UDPOptions()) }
    }

    /// All that arrives at `socket` until `byteCount` bytes are there or 5 s passed.
    private func receive(
        _ byteCount: Int,
        from socket: inout UDPSocket
    ) throws -> (bytes: [UInt8], runs: [ReceivedRun]) {
        var poller = try Poller()
        try poller.add(socket.descriptor, token: 0)
        var arena = [UInt8](repeating: 0, count: 4 * UDPSocket.slotByteCount)
        var bytes: [UInt8] = []
        var all: [ReceivedRun] = []
        while bytes.count < byteCount {
            let now = MonotonicClock.now()
            guard try poller.wait(until: now + .seconds(5), now: now) > 0 else { break }
            var runs = ReceivedRuns(capacity: 4)
            var span = arena.mutableSpan
            var raw = span.mutableBytes
            _ = try socket.receive(into: &raw, slots: 0..<4, runs: &runs)
            for index in 0..<runs.count {
                let run = runs[index]
                all.append(run)
                bytes += arena[run.offset..<run.offset + run.byteCount]
            }
        }
        return (bytes, all)
    }

    @Test("ping inside is answered by what the test writes")
    func ping() throws {
        var harness = try TunHarness()
        let ping = try harness.namespace.spawn(
            "ping",
            "-n",
            "-c",
            "3",
            "-i",
            "0.2",
            "-W",
            "5",
            "-s",
            "1400",
            "10.88.0.2"
        )
        for _ in 0..<3 {
            let request = try harness.next {
                $0.isV4 && $0.transportProtocol == 1 && $0.bytes[20] == 8
            }
            var reply = try #require(request)
            #expect(reply.source == TunHarness.inside && reply.destination == TunHarness.outside)
            reply.store(TunHarness.outside, at: 12)
            reply.store(TunHarness.inside, at: 16)
            reply.bytes[20] = 0
            reply.store(UInt16(0), at: 22)
            reply.store(~Packet.sum(reply.bytes[20...]), at: 22)
            reply.header = [UInt8](repeating: 0, count: 10)
            let isTaken = try harness.write(reply)
            #expect(isTaken)
        }
        let (output, status) = ping.wait()
        #expect(status == 0, "\(output)")
        #expect(output.contains("3 received"))
        let counters = harness.device.counters
        #expect(counters.writtenPacketCount == 3)
        #expect(counters.writtenByteCount == 3 * (10 + 20 + 8 + 1_400))
        #expect(counters.readPacketCount >= 3)
    }

    @Test("a datagram from a socket inside is read, and the answer arrives there")
    func datagram() throws {
        var harness = try TunHarness()
        var socket = try socket(in: harness.namespace)
        let sent = sendTrain(1, from: &socket)
        let request = try #require(try harness.next { $0.isV4 && $0.transportProtocol == 17 })
        #expect(Array(request.bytes[28...]) == sent)
        #expect(request.load(at: 20) == UInt16(7))
        let answer = Packet.udp(
            from: TunHarness.outside,
            to: TunHarness.inside,
            ports: (9, 7),
            Array("answer".utf8)
        )
        let isTaken = try harness.write(answer, pieceByteCount: 9)
        #expect(isTaken)
        let received = try receive(6, from: &socket)
        #expect(received.bytes == Array("answer".utf8))
        #expect(received.runs.map(\.source) == [there])
        let rest = try harness.read()
        #expect(rest == nil, "an empty queue is nil, not an error")
    }

    @Test("a UDP train inside is read as one super-packet, where the kernel can")
    func udpSegmentationOut() throws {
        var harness = try TunHarness()
        let isSupported = harness.device.supportsUDPSegmentation
        var socket = try socket(in: harness.namespace)
        let sent = sendTrain(40, from: &socket)
        var got: [UInt8] = []
        var packetCount = 0
        while got.count < sent.count {
            let packet = try #require(try harness.next { $0.isV4 && $0.transportProtocol == 17 })
            got += packet.bytes[28...]
            packetCount += 1
            #expect(packet.gsoKind == (isSupported ? Packet.udp : 0))
            #expect(packet.gsoSize == (isSupported ? 1_200 : 0))
        }
        #expect(got == sent)
        #expect(packetCount == (isSupported ? 1 : 40))
    }

    @Test("without offloads every packet read is whole and checksummed")
    func noOffloads() throws {
        var harness = try TunHarness { $0.offloads = false }
        let (offloads, segmentation) = (
            harness.device.offloads, harness.device.supportsUDPSegmentation
        )
        #expect(!offloads && !segmentation)
        var socket = try socket(in: harness.namespace)
        let sent = sendTrain(40, from: &socket)
        var got: [UInt8] = []
        for _ in 0..<40 {
            let packet = try #require(try harness.next { $0.isV4 && $0.transportProtocol == 17 })
            #expect(packet.header == [UInt8](repeating: 0, count: 10))
            let length = UInt16(packet.bytes.count - 20)
            let pseudo = [0, 17, UInt8(length >> 8), UInt8(length & 255)] + packet.bytes[12...]
            #expect(Packet.sum(pseudo[...]) == 0xffff)
            got += packet.bytes[28...]
        }
        #expect(got == sent)
    }

    @Test("a UDP super-packet written arrives as its datagrams")
    func udpSegmentationIn() throws {
        var harness = try TunHarness()
        let isSupported = harness.device.supportsUDPSegmentation
        try #require(isSupported, "this kernel is older than 6.2")
        var socket = try socket(in: harness.namespace)
        let payload = (0..<50 * 1_200).map { UInt8(truncatingIfNeeded: $0 &* 11 &+ $0 >> 10) }
        var packet = Packet.udp(
            from: TunHarness.outside,
            to: TunHarness.inside,
            ports: (9, 7),
            payload
        )
        packet.makeSuper(kind: Packet.udp, size: 1_200, transportHeader: 8, checksumAt: 6)
        let isTaken = try harness.write(packet)
        #expect(isTaken)
        let received = try receive(payload.count, from: &socket)
        #expect(received.bytes == payload)
        #expect(received.runs.allSatisfy { $0.segmentByteCount == 1_200 })
        #expect(received.runs.reduce(0) { $0 + $1.datagramCount } == 50)
    }

    @Test("a TCP super-packet of 64 KiB is taken whole: the reset acknowledges its last byte")
    func tcpSegmentationIn() throws {
        var harness = try TunHarness()
        let payload = [UInt8](repeating: 0x5a, count: 65_535 - 40)
        var transport = [UInt8](repeating: 0, count: 20)
        transport.replaceSubrange(0..<4, with: [0x30, 0x39, 0, 7])
        transport.replaceSubrange(4..<8, with: [0x10, 0, 0, 0])
        transport[12] = 5 << 4
        // No flag at all: the closed port resets and acknowledges sequence + length.
        var packet = Packet(
            from: TunHarness.outside,
            to: TunHarness.inside,
            transportProtocol: 6,
            transport,
            payload
        )
        packet.makeSuper(kind: Packet.tcp4, size: 1_360, transportHeader: 20, checksumAt: 16)
        let isTaken = try harness.write(packet, pieceByteCount: 1_360)
        #expect(isTaken)
        let written = harness.device.counters.writtenByteCount
        #expect(written == 10 + 65_535)
        let answer = try #require(try harness.next { $0.isV4 && $0.transportProtocol == 6 })
        #expect(answer.bytes[33] == 0x14, "RST and ACK")
        #expect(answer.load(at: 28) == UInt32(0x1000_0000 + payload.count))
    }

    @Test("a header that lies is refused by the kernel and counted, and the next packet passes")
    func badHeader() throws {
        var harness = try TunHarness()
        var socket = try socket(in: harness.namespace)
        let good = Packet.udp(
            from: TunHarness.outside,
            to: TunHarness.inside,
            ports: (9, 7),
            [1, 2, 3]
        )
        var bad = good
        bad.header = [0, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0]
        let outcomes = [try harness.write(bad), try harness.write(good)]
        #expect(outcomes == [false, true])
        let counters = harness.device.counters
        #expect(counters.refusedDropCount == 1 && counters.writtenPacketCount == 1)
        #expect(try receive(3, from: &socket).bytes == [1, 2, 3])
    }

    @Test("an interface that is down drops and counts; one that is gone is an error")
    func downAndGone() throws {
        var harness = try TunHarness()
        let packet = Packet.udp(
            from: TunHarness.outside,
            to: TunHarness.inside,
            ports: (9, 7),
            [1, 2, 3]
        )
        try harness.namespace.ip("link", "set", harness.device.name, "down")
        let isTaken = try harness.write(packet)
        #expect(!isTaken)
        let dropCount = harness.device.counters.downDropCount
        #expect(dropCount == 1)
        let name = harness.device.name
        try harness.namespace.ip("link", "delete", name)
        do {
            _ = try harness.read()
            Issue.record("read from an interface that is gone")
        } catch let error as IOError {
            #expect(error.code == EBADFD)
            #expect(error.description.hasPrefix("read from TUN interface \(name): "))
        }
        do {
            _ = try harness.write(packet)
            Issue.record("wrote to an interface that is gone")
        } catch let error as IOError {
            #expect(error.code == EBADFD)
        }
    }

    @Test("pieces outside the arena stop the program")
    func outside() async throws {
        let namespace = try NetworkNamespace()
        await #expect(processExitsWith: .failure) { [name = namespace.name as String] in
            do {
                try NetworkNamespace.enter(name)
                var device = try TunDevice(name: "tun%d", options: TunOptions())
                let arena = [UInt8](repeating: 0, count: 100)
                let pieces = [ArenaPiece(offset: 90, byteCount: 11)]
                _ = try device.write(pieces: pieces.span, of: arena.span.bytes)
            } catch {
                // An error is not the stop that is asked for.
                exit(EXIT_SUCCESS)
            }
        }
    }
}
