import Base
import Glibc
import HostNetwork

/// A UDP socket with our mark, where this process may set it, that speaks to one address at a time.
final class ProbeSocket {
    private let descriptor: Int32
    private let isV4: Bool

    // Of the kernel's headers, which Glibc does not show in Swift.
    private static let markOption: Int32 = 36
    private static let discoverV4: Int32 = 10
    private static let discoverV6: Int32 = 23
    private static let mtuV4: Int32 = 14
    private static let mtuV6: Int32 = 24
    private static let never: Int32 = 0
    private static let always: Int32 = 2

    /// Makes it; `nil` where there is no way to `peer`, or no right to the mark.
    ///
    /// - Parameter isWhole: whether datagrams must not be cut on the way.
    init?(to peer: SocketAddress, isWhole: Bool) {
        isV4 = peer.ip.isV4
        let type = Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC | O_NONBLOCK
        descriptor = socket(isV4 ? AF_INET : AF_INET6, type, 0)
        guard descriptor >= 0 else { return nil }
        let isMarked =
            ProcessRights.mark.map { set(SOL_SOCKET, Self.markOption, Int32($0)) } ?? true
        let isReady =
            isMarked
            && set(
                isV4 ? Int32(IPPROTO_IP) : Int32(IPPROTO_IPV6),
                isV4 ? Self.discoverV4 : Self.discoverV6,
                isWhole ? Self.always : Self.never
            )
            && connect(to: peer)
        guard isReady else { return nil }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Sends one datagram; false where the kernel refuses it.
    func send(_ bytes: [UInt8]) -> Bool {
        unsafe Glibc.send(descriptor, bytes, bytes.count, 0) == bytes.count
    }

    /// The next datagram, waited for this long at most; `nil` for none.
    func receive(milliseconds: Int32) -> [UInt8]? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&entry, 1, milliseconds) > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 2_048)
        let count = unsafe recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    /// The largest IP packet the way takes, as far as the kernel knows.
    var mtu: Int? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let level = isV4 ? Int32(IPPROTO_IP) : Int32(IPPROTO_IPV6)
        let option = isV4 ? Self.mtuV4 : Self.mtuV6
        let status = unsafe getsockopt(descriptor, level, option, &value, &length)
        return status == 0 && value > 0 ? Int(value) : nil
    }

    /// Where its datagrams come from, as this machine sees it; `nil` where the kernel does not say.
    var localAddress: SocketAddress? {
        if isV4 {
            var address = sockaddr_in()
            guard name(into: &address) else { return nil }
            let ip = IPAddress(v4: UInt32(bigEndian: address.sin_addr.s_addr))
            return SocketAddress(ip: ip, port: UInt16(bigEndian: address.sin_port))
        }
        var address = sockaddr_in6()
        guard name(into: &address) else { return nil }
        let bytes = unsafe withUnsafeBytes(of: &address.sin6_addr) { unsafe Array($0) }
        let words = [bytes.prefix(8), bytes.suffix(8)].map { half in
            half.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        return SocketAddress(
            ip: IPAddress(high: words[0], low: words[1]),
            port: UInt16(bigEndian: address.sin6_port)
        )
    }

    private func name<Address>(into address: inout Address) -> Bool {
        var length = socklen_t(MemoryLayout<Address>.size)
        return unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe getsockname(descriptor, pointer, &length) == 0
            }
        }
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
        var value = value
        return unsafe setsockopt(
            descriptor,
            level,
            option,
            &value,
            socklen_t(MemoryLayout<Int32>.size)
        ) == 0
    }

    /// Speaks to `peer`, of the same family, from now on, and by the same port as before; false where
    /// there is no way to it.
    func connect(to peer: SocketAddress) -> Bool {
        if let v4 = peer.ip.v4 {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = peer.port.bigEndian
            address.sin_addr.s_addr = v4.bigEndian
            return unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
                    return unsafe Glibc.connect(descriptor, pointer, length) == 0
                }
            }
        }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = peer.port.bigEndian
        let bytes = peer.ip.bytes
        unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { target in
            unsafe target.copyBytes(from: bytes)
        }
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                let length = socklen_t(MemoryLayout<sockaddr_in6>.size)
                return unsafe Glibc.connect(descriptor, pointer, length) == 0
            }
        }
    }
}
