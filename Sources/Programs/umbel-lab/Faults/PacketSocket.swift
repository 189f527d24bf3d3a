import Base
import Glibc

/// A raw socket on one interface: whole Ethernet frames in and out.
struct PacketSocket: ~Copyable {
    let descriptor: Int32
    private let name: String

    /// Opens a socket that sees every frame arriving on `name`, and none that leaves by it.
    ///
    /// - Throws: ``LabError`` where there is no such interface or we may not.
    init(interface name: String) throws(LabError) {
        descriptor = try Self.open(name)
        self.name = name
    }

    private static func open(_ name: String) throws(LabError) -> Int32 {
        let packetFamily: Int32 = 17
        let index = unsafe if_nametoindex(name)
        guard index > 0 else { throw LabError("cannot open \(name)", why: "no such interface") }
        let type = Int32(SOCK_RAW.rawValue) | O_NONBLOCK | O_CLOEXEC
        let descriptor = socket(packetFamily, type, 0)
        guard descriptor >= 0 else {
            throw LabError("cannot open \(name)", why: reason(), hint: "run as root")
        }
        let (packetLevel, ignoreOutgoing): (Int32, Int32) = (263, 23)
        var one: Int32 = 1
        var size: Int32 = 8 << 20
        let four = socklen_t(4)
        unsafe setsockopt(descriptor, packetLevel, ignoreOutgoing, &one, four)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, four)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, four)
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
            let why = reason()
            close(descriptor)
            throw LabError("cannot open \(name)", why: why)
        }
        return descriptor
    }

    deinit {
        close(descriptor)
    }

    /// The next frame that arrived; `nil` when there is none now.
    ///
    /// - Throws: ``LabError`` where the interface is gone.
    func receive(into buffer: inout [UInt8]) throws(LabError) -> [UInt8]? {
        let count = unsafe buffer.withUnsafeMutableBytes { target in
            unsafe recv(descriptor, target.baseAddress, target.count, 0)
        }
        if count >= 0 { return Array(buffer[..<count]) }
        if errno == EAGAIN || errno == EINTR { return nil }
        throw LabError("cannot read \(name)", why: Self.reason())
    }

    /// Sends `frame`; what does not fit into the interface's queue is lost, as on a real cable.
    func send(_ frame: [UInt8]) {
        _ = unsafe frame.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, 0)
        }
    }

    private static func reason() -> String {
        unsafe String(cString: strerror(errno))
    }
}
