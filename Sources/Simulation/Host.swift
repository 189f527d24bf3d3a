import Base

/// Something that sends and receives plain packets.
public class Host {
    let index: Int
    unowned let world: World
    private var planned: Instant = .distantFuture

    init(index: Int, world: World) {
        self.index = index
        self.world = world
    }

    var nextDeadline: Instant { .distantFuture }
    func act() {}

    func tick() {
        // An event of a deadline that was moved up since.
        guard planned <= world.now else { return }
        planned = .distantFuture
        act()
        plan()
    }

    func plan() {
        let deadline = nextDeadline
        guard deadline < planned else { return }
        planned = max(deadline, world.now)
        world.plan(.host(index), at: planned)
    }

    /// The packets that carry `runs` of a stream; one super-packet a run where it may be.
    func packets(
        of stream: Stream,
        runs: [Range<Int>],
        from source: IPAddress,
        _ sourcePort: UInt16,
        to destination: IPAddress,
        _ destinationPort: UInt16
    ) -> [TunInput] {
        runs.map { run in
            var packet = Packet(.tcp, from: source, to: destination)
            packet.sourcePort = sourcePort
            packet.destinationPort = destinationPort
            packet.sequence = UInt32(run.lowerBound * Stream.segmentByteCount)
            packet.payload = stream.bytes(of: run)
            return run.count == 1
                ? Offload.plain(packet.encoded)
                : Offload.merged(packet, segmentByteCount: Stream.segmentByteCount)
        }
    }

    func acknowledgement(
        of stream: Stream,
        from source: IPAddress,
        _ sourcePort: UInt16,
        to destination: IPAddress,
        _ destinationPort: UInt16
    ) -> TunInput {
        let (first, map) = stream.takeAcknowledgement(now: world.now)
        var packet = Packet(.tcp, from: source, to: destination)
        packet.sourcePort = sourcePort
        packet.destinationPort = destinationPort
        packet.acknowledged = UInt32(first)
        packet.options = [1, 1, 253, 10] + (0..<8).map { UInt8(map >> (56 - 8 * $0) & 255) }
        return Offload.plain(packet.encoded)
    }

    static func map(of packet: Packet) -> UInt64? {
        guard packet.options.count == 12, packet.options[2] == 253 else { return nil }
        return packet.options[4...].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
