import Base
import EventLoop
import NamespaceSupport
import Testing
import TunDevice

/// A TUN interface in a namespace of its own, with address 10.88.0.1/24, and the test behind it.
struct TunHarness: ~Copyable {
    /// The namespace's address.
    static let inside: UInt32 = 0x0a58_0001
    /// An address behind the TUN, which the test plays.
    static let outside: UInt32 = 0x0a58_0002

    let namespace: NetworkNamespace
    var device: TunDevice
    private var poller: Poller
    private var arena = [UInt8](repeating: 0, count: 100 + TunDevice.readByteCount)

    /// Why TUN interfaces cannot be made here; `nil` where they can.
    static let whyUnavailable: String? = {
        if let reason = NetworkNamespace.whyUnavailable { return reason }
        do {
            let namespace = try NetworkNamespace()
            _ = try namespace.inside { try TunDevice(name: "tun%d", options: TunOptions()) }
            return nil
        } catch {
            return "\(error)"
        }
    }()

    init(_ configure: (inout TunOptions) -> Void = { _ in }) throws {
        var options = TunOptions()
        configure(&options)
        let namespace = try NetworkNamespace()
        let device = try namespace.inside { [options] in
            try TunDevice(name: "tun%d", options: options)
        }
        // No IPv6: its router solicitations would come between the packets of a test.
        _ = try namespace.spawn("sysctl", "-qw", "net.ipv6.conf.\(device.name).disable_ipv6=1")
            .wait()
        try namespace.ip("address", "add", "10.88.0.1/24", "dev", device.name)
        try namespace.ip("link", "set", device.name, "up")
        var poller = try Poller()
        try poller.add(device.descriptor, token: 0)
        self.namespace = namespace
        self.device = device
        self.poller = poller
    }

    /// The next packet `isWanted`, or `nil` when none came within 5 s.
    mutating func next(where isWanted: (Packet) -> Bool) throws -> Packet? {
        let deadline = MonotonicClock.now() + .seconds(5)
        while true {
            while let packet = try read() {
                if isWanted(packet) { return packet }
            }
            let now = MonotonicClock.now()
            guard now < deadline, try poller.wait(until: deadline, now: now) > 0 else { return nil }
        }
    }

    /// The packet that waits now.
    mutating func read() throws -> Packet? {
        var arena: [UInt8] = []
        swap(&arena, &self.arena)
        defer { swap(&arena, &self.arena) }
        var span = arena.mutableSpan
        var raw = span.mutableBytes
        guard let count = try device.read(into: &raw, at: 100) else { return nil }
        return Packet(read: arena[100..<100 + count])
    }

    /// Writes `packet`, cut into pieces that lie in the arena in another order.
    mutating func write(_ packet: Packet, pieceByteCount: Int = 1_000) throws -> Bool {
        let starts = Array(stride(from: 0, to: packet.bytes.count, by: pieceByteCount))
        var arena: [UInt8] = []
        var pieces: [ArenaPiece] = []
        for start in starts.reversed() {
            let bytes = packet.bytes[start..<min(start + pieceByteCount, packet.bytes.count)]
            arena.append(0xee)
            pieces.append(ArenaPiece(offset: arena.count, byteCount: bytes.count))
            arena += bytes
        }
        pieces.reverse()
        pieces.insert(ArenaPiece(offset: arena.count, byteCount: packet.header.count), at: 0)
        arena += packet.header
        return try device.write(
            pieces: pieces.span,
            of: arena.span.bytes
        )
    }
}
