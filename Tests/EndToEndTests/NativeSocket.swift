import Base
import EventLoop
import Foundation
import NamespaceSupport

/// A socket of a test's own in the namespace of a host, where no program fits.
final class NativeSocket: Sendable {
    let descriptor: Int32

    /// Opens a socket on `host`, and binds it to the interface `device` where one is given.
    init(
        _ lab: Lab,
        host: String,
        family: Int32,
        type: Int32,
        number: Int32 = 0,
        device: String? = nil
    ) throws {
        let name = lab.namespace(host)
        descriptor = try NamespaceSupport.NetworkNamespace.inside(name) {
            let descriptor = socket(family, type | Int32(SOCK_CLOEXEC.rawValue), number)
            guard descriptor >= 0 else { throw IOError("open socket on", host, code: errno) }
            if let device {
                let status = setsockopt(
                    descriptor,
                    SOL_SOCKET,
                    SO_BINDTODEVICE,
                    device,
                    socklen_t(device.utf8.count)
                )
                guard status == 0 else { throw IOError("bind socket to", device, code: errno) }
            }
            return descriptor
        }
    }

    /// Takes over an open socket.
    init(owning descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    /// Ends both directions, which wakes whoever waits.
    func shutDown() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    func set(_ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, name, &value, 4)
    }

    /// Lets waiting for data, or for room, end after `seconds`.
    func setLimit(seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    func bind(to address: SocketAddress) throws {
        let status = address.withNative { Foundation.bind(descriptor, $0, $1) }
        guard status == 0 else { throw IOError("bind", "\(address)", code: errno) }
    }

    func connect(to address: SocketAddress) throws {
        let status = address.withNative { Foundation.connect(descriptor, $0, $1) }
        guard status == 0 || errno == EINPROGRESS else {
            throw IOError("connect", "\(address)", code: errno)
        }
    }

    /// Sends `bytes` to `address`; false where the kernel refuses.
    @discardableResult
    func send(_ bytes: [UInt8], to address: SocketAddress) -> Bool {
        address.withNative { name, size in
            sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), name, size)
        } == bytes.count
    }
}

extension SocketAddress {
    /// Lends the address as the system wants it.
    func withNative<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        if let v4 = ip.v4 {
            var native = sockaddr_in()
            native.sin_family = sa_family_t(AF_INET)
            native.sin_port = port.bigEndian
            native.sin_addr.s_addr = v4.bigEndian
            return withUnsafePointer(to: native) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        var native = sockaddr_in6()
        native.sin6_family = sa_family_t(AF_INET6)
        native.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &native.sin6_addr) { $0.copyBytes(from: ip.bytes) }
        return withUnsafePointer(to: native) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
    }
}
