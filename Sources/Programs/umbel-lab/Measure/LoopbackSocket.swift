import Base
import Glibc

/// A UDP socket of this machine's loopback that speaks to one address, and never waits.
final class LoopbackSocket {
    private let descriptor: Int32

    /// Opens it at `source`, by a port of the kernel's choice.
    ///
    /// - Throws: ``LabError`` with what the kernel said.
    init(from source: IPAddress, to peer: SocketAddress) throws(LabError) {
        let type = Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC | O_NONBLOCK
        descriptor = Glibc.socket(AF_INET, type, 0)
        let own = SocketAddress(ip: source, port: 0)
        let socket = descriptor
        let isOpen =
            unsafe socket >= 0 && Self.with(own) { unsafe bind(socket, $0, $1) } == 0
            && Self.with(peer) { unsafe connect(socket, $0, $1) } == 0
        guard isOpen else {
            throw LabError(
                "cannot send from \(source) to \(peer)",
                why: unsafe String(cString: strerror(errno))
            )
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Sends one datagram; what the kernel does not take is lost.
    func send(_ bytes: ArraySlice<UInt8>) {
        _ = unsafe bytes.withUnsafeBytes { bytes in
            unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        }
    }

    /// The next datagram; `nil` where none waits.
    func receive() -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 2_048)
        let count = unsafe recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    /// Waits until a datagram is there, at most so long.
    func wait(milliseconds: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&entry, 1, milliseconds)
    }

    private static func with(
        _ address: SocketAddress,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var native = sockaddr_in()
        native.sin_family = sa_family_t(AF_INET)
        native.sin_port = address.port.bigEndian
        native.sin_addr.s_addr = (address.ip.v4 ?? 0).bigEndian
        return unsafe withUnsafePointer(to: &native) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe body(generic, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
