// TunDevice: IP packets in and out of this machine's kernel, super-packets whole.
//
// Duty: open a TUN interface with the virtio header and all offloads the kernel grants
// (`TunDevice.init`), read a packet with its header into a caller's arena (`read`), write a header
// and a packet in pieces (`write`), count what the kernel refused.
// Not its duty: addresses, routes and MTU (HostNetwork runs `ip`), and what headers and packets
// mean: splitting and coalescing belong to Flows.
//
// A packet out of the machine: `read` puts 10 header bytes and up to 64 KiB of packet at an offset
// of the arena, `nil` says the queue is empty. A packet into it: `write` hands the kernel a header
// and pieces of the arena, gathered by one writev, so payloads are never copied together.

public import Base
import CLinux
public import EventLoop
import Glibc

/// One queue of a TUN interface, which is there as long as one of its queues is.
///
/// Never blocks. Every packet has the kernel's 10-byte virtio header in front, in little-endian
/// order. Owned by one thread; sendable because the pointers it holds between writes are never
/// followed and no other value holds them.
@safe
public struct TunDevice: ~Copyable, @unchecked Sendable {
    /// Bytes of the virtio header in front of every packet.
    public static let headerByteCount = Int(CLINUX_TUN_HEADER_SIZE)
    /// Room one read needs: the header and the largest packet.
    public static let readByteCount = headerByteCount + 65_536
    /// Pieces of a packet one write takes at most.
    public static let pieceCapacity = 1_024

    /// The interface's name as the kernel completed it.
    public let name: String
    /// Whether TCP super-packets pass, and checksums are left to the reader.
    public let offloads: Bool
    /// Whether UDP super-packets pass as well (Linux 6.2 and later).
    public let supportsUDPSegmentation: Bool
    /// What it did so far.
    public private(set) var counters = TunCounters()

    private static let interruptionLimit = 16
    private let owned: OwnedDescriptor
    private var vectors: [iovec]

    /// Creates the interface `name`, or another queue of it, down and without addresses.
    ///
    /// The name has 1 to 15 bytes; `%d` in it stands for the first free number.
    /// - Throws: ``IOError`` with a hint: no driver, no privilege, the name is taken.
    public init(name: String, options: TunOptions) throws(IOError) {
        let path = options.devicePath
        let fd = unsafe open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        let code = errno
        let owned = try OwnedDescriptor(
            fd >= 0 ? fd : -code,
            "open",
            path,
            hint: Self.openHint(code)
        )
        let completeName = try Self.attach(owned.number, name, options)
        try self.init(attached: owned, name: completeName, options: options)
    }

    /// Takes over a device that somebody else attached to an interface, with the header and one
    /// queue, in whatever network namespace.
    ///
    /// - Throws: ``IOError`` where the descriptor is none of such a device.
    public init(adopting owned: consuming OwnedDescriptor) throws(IOError) {
        var buffer = [CChar](repeating: 0, count: Int(CLINUX_TUN_NAME_SIZE))
        let result = unsafe clinux_tun_identify(owned.number, &buffer)
        guard result == 0 else {
            throw IOError("take over", "a TUN device", code: -result)
        }
        try self.init(attached: owned, name: Self.text(buffer), options: TunOptions())
    }

    /// Agrees on header and offloads with the device of the interface `name`.
    private init(
        attached owned: consuming OwnedDescriptor,
        name: String,
        options: TunOptions
    ) throws(IOError) {
        let result = clinux_tun_set_header(owned.number)
        guard result == 0 else {
            throw IOError("set header of TUN interface", name, code: -result)
        }
        (offloads, supportsUDPSegmentation) = try Self.negotiate(owned.number, name, options)
        self.name = name
        self.owned = owned
        unsafe vectors = Array(repeating: iovec(), count: Self.pieceCapacity)
    }

    /// What to watch for readability; valid as long as the device lives.
    public var descriptor: CInt {
        owned.number
    }

    /// Reads the next packet, its virtio header first, to `offset` of `arena`.
    ///
    /// - Returns: bytes read, header included; `nil` when no packet waits.
    /// - Throws: ``IOError`` when the interface is gone or the device unusable.
    /// - Precondition: the arena has ``readByteCount`` bytes from `offset` on.
    public mutating func read(
        into arena: inout MutableRawSpan,
        at offset: Int
    ) throws(IOError) -> Int? {
        precondition(
            offset >= 0 && offset <= arena.byteCount - Self.readByteCount,
            "no room for the largest packet"
        )
        let fd = owned.number
        for _ in 0..<Self.interruptionLimit {
            let result = unsafe arena.withUnsafeMutableBytes { buffer in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe Glibc.read(fd, base + offset, Self.readByteCount)
            }
            if result >= Self.headerByteCount {
                counters.readPacketCount += 1
                counters.readByteCount += UInt64(result)
                return result
            }
            let code = result < 0 ? errno : EIO
            switch code {
            case EAGAIN: return nil
            case EINTR: continue
            default: throw IOError("read from TUN interface", name, code: code)
            }
        }
        return nil
    }

    /// Writes one packet: `pieces` of `arena` one after the other, the first of which begins with
    /// the virtio header.
    ///
    /// A packet the kernel does not take is dropped and counted in ``counters``.
    /// - Returns: whether the kernel took it.
    /// - Throws: ``IOError`` when the interface is gone or the device unusable.
    /// - Precondition: there are at most ``pieceCapacity`` pieces, all of them within the arena.
    public mutating func write(
        pieces: Span<ArenaPiece>,
        of arena: RawSpan
    ) throws(IOError) -> Bool {
        precondition(pieces.count <= Self.pieceCapacity, "too many pieces")
        let fd = owned.number
        let result = unsafe arena.withUnsafeBytes { buffer in
            unsafe gather(pieces, buffer)
            for _ in 0..<Self.interruptionLimit {
                let result = unsafe writev(fd, vectors, CInt(pieces.count))
                if result >= 0 || errno != EINTR { return result }
            }
            return -1
        }
        guard result < 0 else {
            counters.writtenPacketCount += 1
            counters.writtenByteCount += UInt64(result)
            return true
        }
        let code = errno
        switch code {
        case EBADFD, EBADF, EFAULT: throw IOError("write to TUN interface", name, code: code)
        case EAGAIN, ENOBUFS, ENOMEM: counters.fullDropCount += 1
        case EIO: counters.downDropCount += 1
        default: counters.refusedDropCount += 1
        }
        return false
    }

    @unsafe
    private mutating func gather(
        _ pieces: Span<ArenaPiece>,
        _ arena: UnsafeRawBufferPointer
    ) {
        for index in pieces.indices {
            let piece = pieces[index]
            precondition(
                piece.offset >= 0 && piece.byteCount >= 0
                    && piece.byteCount <= arena.count
                    && piece.offset <= arena.count - piece.byteCount,
                "piece out of arena"
            )
            unsafe vectors[index] = iovec(
                iov_base: UnsafeMutableRawPointer(
                    mutating: arena.baseAddress.map { unsafe $0 + piece.offset }
                ),
                iov_len: piece.byteCount
            )
        }
    }
}

// MARK: - Opening

extension TunDevice {
    private static func attach(
        _ fd: CInt,
        _ name: String,
        _ options: TunOptions
    ) throws(IOError) -> String {
        let operation = "create TUN interface"
        let limit = Int(CLINUX_TUN_NAME_SIZE)
        guard (1..<limit).contains(name.utf8.count), !name.utf8.contains(0) else {
            throw IOError(operation, name, code: EINVAL, hint: "a name has 1 to 15 characters")
        }
        var buffer = [CChar](repeating: 0, count: limit)
        for (index, byte) in name.utf8.enumerated() {
            buffer[index] = CChar(bitPattern: byte)
        }
        let result = unsafe clinux_tun_attach(fd, &buffer, options.isMultiQueue)
        guard result == 0 else {
            throw IOError(operation, name, code: -result, hint: attachHint(-result, name))
        }
        return text(buffer)
    }

    /// The name in `buffer`, which ends at its first 0.
    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Asks for all offloads, then for those older kernels have.
    private static func negotiate(
        _ fd: CInt,
        _ name: String,
        _ options: TunOptions
    ) throws(IOError) -> (tcp: Bool, udp: Bool) {
        if options.offloads, clinux_tun_set_offload(fd, true, true) == 0 {
            return (true, true)
        }
        let result = clinux_tun_set_offload(fd, options.offloads, false)
        guard result == 0 else {
            throw IOError("set offloads of TUN interface", name, code: -result)
        }
        return (options.offloads, false)
    }

    private static func openHint(_ code: CInt) -> String? {
        switch code {
        case ENOENT, ENODEV, ENXIO:
            "load the driver with `modprobe tun`; in a container, pass /dev/net/tun in"
        case EACCES, EPERM:
            "run as root, or give the user the device node and the program CAP_NET_ADMIN"
        default: nil
        }
    }

    private static func attachHint(_ code: CInt, _ name: String) -> String? {
        switch code {
        case EPERM, EACCES:
            "run as root or give the program CAP_NET_ADMIN"
        case EBUSY:
            "another program holds this interface: end it, or choose another name"
        case EINVAL:
            "the name is no interface name, or an interface of another kind has it:"
                + " see `ip link show \(name)`"
        default: nil
        }
    }
}
