import Base
import EventLoop
import Flows
import TunDevice

/// A TUN device as a packet thread uses it.
struct TunnelPort: ~Copyable {
    private var device: TunDevice
    private var pace = ReadPace(now: MonotonicClock.now())
    private var packetCount = 0
    private var byteCount = 0
    /// When it is to be read though nobody says that something waits; far off while somebody does.
    private(set) var readDue = Instant.distantFuture

    /// Opens the device `name`, or one more queue of it where several threads share it.
    init(name: String, isShared: Bool = false) throws(IOError) {
        var options = TunOptions()
        options.isMultiQueue = isShared
        device = try TunDevice(name: name, options: options)
    }

    /// Takes over a device that is attached to its interface.
    init(adopting descriptor: consuming OwnedDescriptor) throws(IOError) {
        device = try TunDevice(adopting: descriptor)
    }

    /// What to watch for readability.
    var descriptor: CInt { device.descriptor }

    /// The interface's name.
    var name: String { device.name }

    /// What the device takes.
    var offload: TunCoalescer.Offload {
        guard device.offloads else { return .none }
        return device.supportsUDPSegmentation ? .tcpAndUDP : .tcp
    }

    /// Reads a packet to `ArenaLayout.tunnelInput`; `nil` when none waits.
    mutating func read(_ bytes: inout MutableRawSpan) throws(IOError) -> Int? {
        let count = try device.read(into: &bytes, at: ArenaLayout.tunnelInput.lowerBound)
        if let count {
            packetCount += 1
            byteCount += count
        }
        return count
    }

    /// Ends a batch of reads: says when the next is due, and watches for packets only where that is
    /// at once.
    mutating func noteBatch(
        with poller: inout Poller,
        token: UInt64,
        now: Instant
    ) throws(IOError) {
        pace.note(packetCount: packetCount, byteCount: byteCount, now: now)
        packetCount = 0
        byteCount = 0
        let wasHolding = readDue != .distantFuture
        readDue = pace.isHolding ? now + ReadPace.hold : .distantFuture
        guard wasHolding != pace.isHolding else { return }
        try poller.modify(
            device.descriptor,
            token: token,
            readable: !pace.isHolding,
            writable: false
        )
    }

    /// Writes all packets of `list`.
    mutating func write(_ list: TunWriteList, from bytes: RawSpan) throws(IOError) {
        for write in list.writes {
            _ = try device.write(
                pieces: list.pieces.span.extracting(write.pieces),
                of: bytes
            )
        }
    }
}
