import Anonymity
import Base
import CLinux
import EventLoop
import Glibc
import Synchronization

/// Notes time, size and direction of all that passes interfaces of several namespaces, on a thread
/// of its own; of each frame only the headers are read.
///
/// The kernel stamps frames as they pass. A train of datagrams, which a cable shows as one frame,
/// counts as its datagrams, all at once.
final class LinkTaps: Sendable {
    /// Whose interface, and what is noted there.
    enum Tap: Sendable {
        /// A client's: cells of its links.
        case client(Int)
        /// A relay's: cells that come to it from other relays, `relays` by the addresses they have.
        case relay(Int, relays: [IPAddress: Int])
        /// The `internet` host's: TCP packets of one of its ports.
        case hosts(port: UInt16)
    }

    /// A flow as hosts see it: the exit's address and port.
    struct FlowKey: Hashable, Sendable {
        var address: IPAddress
        var port: UInt16
    }

    /// What was seen.
    struct Harvest: Sendable {
        var recording = Recording()
        /// Numbers of flows in the recording.
        var flows: [FlowKey: Int] = [:]
        /// Frames the kernel had no room for.
        var lostFrames = 0
    }

    private let isStopped = Atomic(false)
    private let harvest = Mutex(Harvest())
    private let thread = Mutex<LabThread.Handle?>(nil)
    private let descriptors: [Int32]
    private let taps: [Tap]
    private let began: Double

    /// Bytes of a datagram in a train.
    private static let datagramByteCount = 1_392
    /// Ethernet, IPv4 and UDP before it, and the frame of one datagram without Ethernet.
    private static let wireByteCount = UInt32(datagramByteCount + 28)

    /// Listens on `eth0` in each namespace from now on.
    ///
    /// - Throws: ``LabError`` where one cannot be listened on.
    init(_ places: [(namespace: String, tap: Tap)]) throws(LabError) {
        var descriptors: [Int32] = []
        for place in places {
            do {
                descriptors.append(
                    try LabThread.inside(place.namespace) { try Self.openSocket(place.tap) }
                )
            } catch {
                for descriptor in descriptors { close(descriptor) }
                throw LabError("cannot listen in \(place.namespace)", why: "\(error)")
            }
        }
        self.descriptors = descriptors
        taps = places.map(\.tap)
        began = Self.wallSeconds()
        do throws(IOError) {
            let started = try LabThread.Handle("taps") { [self] in listen() }
            thread.withLock { $0 = started }
        } catch {
            for descriptor in descriptors { close(descriptor) }
            throw LabError("cannot listen", why: "\(error)")
        }
    }

    /// Ends listening and hands over what was seen.
    func stop() -> Harvest {
        isStopped.store(true, ordering: .relaxed)
        thread.withLock { $0 }?.join()
        for descriptor in descriptors { close(descriptor) }
        return harvest.withLock { $0 }
    }

    private static func wallSeconds() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    private static func openSocket(_ tap: Tap) throws -> Int32 {
        let packetFamily: Int32 = 17
        let index = unsafe if_nametoindex("eth0")
        let descriptor = socket(
            packetFamily,
            Int32(SOCK_RAW.rawValue) | O_NONBLOCK | O_CLOEXEC,
            0
        )
        guard descriptor >= 0 else { throw IOError("open", "a packet socket", code: errno) }
        var size: Int32 = 8 << 20
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, 4)
        if case .relay = tap {
            // PACKET_IGNORE_OUTGOING: what leaves is seen where it arrives.
            var ignores: Int32 = 1
            unsafe setsockopt(descriptor, 263, 23, &ignores, 4)
        }
        // sockaddr_ll: family 2, protocol 2 (all, big-endian), interface 4, then 12 unused here.
        var address = [UInt8](repeating: 0, count: 20)
        address[0] = UInt8(packetFamily)
        address[3] = 3
        for byte in 0..<4 { address[4 + byte] = UInt8(truncatingIfNeeded: index >> (8 * byte)) }
        let status = unsafe address.withUnsafeBytes { bytes in
            unsafe bytes.withMemoryRebound(to: sockaddr.self) { generic in
                unsafe bind(descriptor, generic.baseAddress, 20)
            }
        }
        guard status == 0 else {
            let code = errno
            close(descriptor)
            throw IOError("bind to", "eth0", code: code)
        }
        return descriptor
    }

    private func listen() {
        var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var seen = Harvest()
        while !isStopped.load(ordering: .relaxed) {
            guard unsafe poll(&polled, nfds_t(polled.count), 100) > 0 else { continue }
            for index in polled.indices where polled[index].revents != 0 {
                drain(index, &seen)
            }
        }
        for index in descriptors.indices { seen.lostFrames += lostFrames(descriptors[index]) }
        harvest.withLock { $0 = seen }
    }

    /// PACKET_STATISTICS: frames, then those dropped.
    private func lostFrames(_ descriptor: Int32) -> Int {
        var counts = (UInt32(0), UInt32(0))
        var size = socklen_t(8)
        let status = unsafe getsockopt(descriptor, 263, 6, &counts, &size)
        return status == 0 ? Int(counts.1) : 0
    }

    private func drain(_ index: Int, _ seen: inout Harvest) {
        var head = [UInt8](repeating: 0, count: 128)
        // What other interfaces wait for is not kept waiting by a busy one.
        for _ in 0..<256 {
            var from = [UInt8](repeating: 0, count: 20)
            var fromCount = socklen_t(20)
            let count = unsafe head.withUnsafeMutableBytes { target in
                unsafe from.withUnsafeMutableBytes { from in
                    unsafe from.withMemoryRebound(to: sockaddr.self) { generic in
                        unsafe recvfrom(
                            descriptors[index],
                            target.baseAddress,
                            target.count,
                            Int32(MSG_TRUNC),
                            generic.baseAddress,
                            &fromCount
                        )
                    }
                }
            }
            guard count > 0 else { return }
            var stamp = timespec()
            // SIOCGSTAMPNS: when the frame passed, which the kernel noted.
            let status = unsafe ioctl(descriptors[index], 0x8907, &stamp)
            let time =
                status == 0
                ? Double(stamp.tv_sec) + Double(stamp.tv_nsec) * 1e-9 : Self.wallSeconds()
            // sockaddr_ll, offset 10: 4 is a frame that leaves.
            note(head, count, leaves: from[10] == 4, time: time - began, taps[index], &seen)
        }
    }

    private func note(
        _ head: [UInt8],
        _ count: Int,
        leaves: Bool,
        time: Double,
        _ tap: Tap,
        _ seen: inout Harvest
    ) {
        guard let packet = FrameHead(head) else { return }
        switch tap {
        case .client(let client):
            note(
                packet,
                count,
                time,
                leaves ? .forward : .backward,
                .clientLink(client: client),
                &seen
            )
        case .relay(let relay, let relays):
            guard let from = relays[packet.source] else { return }
            note(packet, count, time, .forward, .relayLink(from: from, to: relay), &seen)
        case .hosts(let port):
            guard packet.transport == 6 else { return }
            let own = leaves ? packet.sourcePort : packet.destinationPort
            guard own == port else { return }
            let key = FlowKey(
                address: leaves ? packet.destination : packet.source,
                port: leaves ? packet.destinationPort : packet.sourcePort
            )
            let flow = seen.flows[key] ?? seen.flows.count
            seen.flows[key] = flow
            seen.recording.add(
                Observation(
                    time: time,
                    byteCount: UInt32(clamping: count - 14),
                    direction: leaves ? .backward : .forward,
                    place: .exitSide(exit: 0, flow: flow)
                )
            )
        }
    }
}

extension LinkTaps {
    /// Notes the datagrams of a frame; nothing where it has none.
    private func note(
        _ packet: FrameHead,
        _ count: Int,
        _ time: Double,
        _ direction: Direction,
        _ place: Place,
        _ seen: inout Harvest
    ) {
        guard packet.transport == 17 else { return }
        let payload = count - packet.payloadOffset
        let datagrams = max(1, (payload + Self.datagramByteCount - 1) / Self.datagramByteCount)
        for _ in 0..<datagrams {
            seen.recording.add(
                Observation(
                    time: time,
                    byteCount: Self.wireByteCount,
                    direction: direction,
                    place: place
                )
            )
        }
    }
}

/// The headers of an Ethernet frame with an IP packet in it.
struct FrameHead: Hashable {
    var source: IPAddress
    var destination: IPAddress
    /// 6 TCP, 17 UDP.
    var transport: UInt8
    var sourcePort: UInt16
    var destinationPort: UInt16
    /// Where the payload of a UDP datagram would begin in the frame.
    var payloadOffset: Int

    /// Reads the head of a frame; `nil` where it is no unfragmented TCP or UDP over IP.
    init?(_ frame: [UInt8]) {
        guard frame.count >= 62 else { return nil }
        func number(_ range: Range<Int>) -> UInt64 {
            frame[range].reduce(0) { $0 << 8 | UInt64($1) }
        }
        let start: Int
        switch number(12..<14) {
        case 0x0800:
            let header = Int(frame[14] & 15) * 4
            guard frame[14] >> 4 == 4, header >= 20, frame[20] & 0x3f == 0, frame[21] == 0 else {
                return nil
            }
            start = 14 + header
            transport = frame[23]
            source = IPAddress(v4: UInt32(truncatingIfNeeded: number(26..<30)))
            destination = IPAddress(v4: UInt32(truncatingIfNeeded: number(30..<34)))
        case 0x86dd:
            start = 54
            transport = frame[20]
            source = IPAddress(high: number(22..<30), low: number(30..<38))
            destination = IPAddress(high: number(38..<46), low: number(46..<54))
        default: return nil
        }
        guard transport == 6 || transport == 17, frame.count >= start + 8 else { return nil }
        sourcePort = UInt16(truncatingIfNeeded: number(start..<start + 2))
        destinationPort = UInt16(truncatingIfNeeded: number(start + 2..<start + 4))
        payloadOffset = start + 8
    }
}
