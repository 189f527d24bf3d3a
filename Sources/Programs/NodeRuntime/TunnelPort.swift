import Base
import EventLoop
import Flows
import TunDevice

/// A TUN device as a packet thread uses it.
struct TunnelPort: ~Copyable {
    private var device: TunDevice

    /// Opens the device `name`, or one more queue of it where several threads share it.
    init(name: String, isShared: Bool = false) throws(IOError) {
        var options = TunOptions()
        options.isMultiQueue = isShared
        device = try TunDevice(name: name, options: options)
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
        try device.read(into: &bytes, at: ArenaLayout.tunnelInput.lowerBound)
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
