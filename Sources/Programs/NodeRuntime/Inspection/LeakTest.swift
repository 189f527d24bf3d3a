import Base
import ControlAPI
import Foundation
import Glibc
import HostNetwork
import UDPTransport

/// Looks at whether anything leaves the machine around the tunnel, as an ordinary program would.
///
/// It asks the kernel which way packets would take, and sends datagrams of one byte over IPv4 and
/// IPv6, past the routes, out of the interface our own leave by: the kernel must refuse each. Our
/// own mark, which alone passes beside the tunnel, is on none of what is tried.
struct LeakTest {
    /// Whether the whole machine is led through a tunnel.
    let leadsMachine: Bool
    /// Whether the kernel's lock stands.
    let isLocked: Bool
    /// The address the guard is reached by; `nil` while there is no circuit.
    let guardAddress: SocketAddress?

    /// TEST-NET-1 of RFC 5737 and the discard prefix of RFC 6666, where nobody is.
    ///
    /// What is tried over the family the guard is not reached by goes there: should it leak, nobody
    /// gets it.
    private static let nowhereV4 = IPAddress(v4: 0xc000_0201)
    private static let nowhereV6 = IPAddress(high: 0x0100_0000_0000_0000, low: 1)
    /// Discard, which no program uses, and the port whose leaks tell the most.
    private static let ports: [UInt16] = [9, 53]

    /// Makes all checks.
    func run() -> LeakReport {
        guard leadsMachine else {
            return LeakReport(checks: [
                LeakReport.Check(
                    name: "machine",
                    tried: "whether this machine's traffic is led through the tunnel",
                    result: .skipped,
                    detail: "it is not; programs under umbel run have a network of their own",
                    hint: "umbel up --wait"
                )
            ])
        }
        let bypasses = [true, false].flatMap { isV4 in
            Self.ports.map { bypass(isV4: isV4, port: $0) }
        }
        return LeakReport(checks: [lock, resolver] + ways + bypasses)
    }

    private var lock: LeakReport.Check {
        LeakReport.Check(
            name: "lock",
            tried: "whether the kernel holds back what does not go through the tunnel",
            result: isLocked ? .passed : .leaking,
            detail: isLocked ? "the rules of umbel are in force" : "the rules are not there",
            hint: isLocked ? nil : "umbel up"
        )
    }

    private var resolver: LeakReport.Check {
        let text = (try? String(contentsOfFile: "/etc/resolv.conf", encoding: .utf8)) ?? ""
        let servers = text.split(separator: "\n").filter { $0.hasPrefix("nameserver ") }
            .map { $0.dropFirst("nameserver ".count).trimmingCharacters(in: .whitespaces) }
        let ours = ["\(TunnelAddresses.resolverV4)", "\(TunnelAddresses.resolverV6)"]
        let others = servers.filter { !ours.contains($0) }
        return LeakReport.Check(
            name: "resolver",
            tried: "which resolvers /etc/resolv.conf names",
            result: others.isEmpty && !servers.isEmpty ? .passed : .leaking,
            detail: servers.isEmpty ? "none" : servers.joined(separator: ", "),
            hint: others.isEmpty && !servers.isEmpty ? nil : "umbel up"
        )
    }

    /// Where packets to these places would leave, by the kernel's routes.
    private var ways: [LeakReport.Check] {
        [
            ("DNS over IPv4", "9.9.9.9:53"), ("DNS over TLS", "9.9.9.9:853"),
            ("IPv4", "1.1.1.1:443"), ("IPv6", "[2620:fe::fe]:443"),
            ("DNS over IPv6", "[2620:fe::fe]:53"),
        ].compactMap { name, text in
            SocketAddress(text).map { way(name, to: $0) }
        }
    }

    private func way(_ name: String, to address: SocketAddress) -> LeakReport.Check {
        let source = UDPSocket.source(toward: address, mark: nil)
        let isOurs = source.map(Self.isTunnel) ?? true
        return LeakReport.Check(
            name: name,
            tried: "which way a packet to \(address) takes",
            result: isOurs ? .passed : .leaking,
            detail: source.map { "it leaves from \($0)" } ?? "there is no way at all",
            hint: isOurs ? nil : "umbel doctor"
        )
    }

    private static func isTunnel(_ source: IPAddress) -> Bool {
        source == TunnelAddresses.clientV4 || source == TunnelAddresses.clientV6
    }

    /// Tries to send around the tunnel, out of the interface our own datagrams leave by.
    private func bypass(isV4: Bool, port: UInt16) -> LeakReport.Check {
        let family = isV4 ? "IPv4" : "IPv6"
        let nowhere = isV4 ? Self.nowhereV4 : Self.nowhereV6
        let target = guardAddress?.ip.isV4 == isV4 ? guardAddress?.ip ?? nowhere : nowhere
        let address = SocketAddress(ip: target, port: port)
        var check = LeakReport.Check(
            name: "bypass, \(family), port \(port)",
            tried:
                "a datagram to \(address) past the routes, as a program bound to the line sends it",
            result: .passed,
            detail: "there is no way out over \(family) at all"
        )
        guard let source = UDPSocket.source(toward: address, mark: ProcessRights.mark),
            !Self.isTunnel(source)
        else { return check }
        guard let interface = Self.interface(of: source) else {
            check.result = .skipped
            check.detail = "no interface has the address \(source) any more"
            check.hint = "try again"
            return check
        }
        switch Self.send(to: address, outOf: interface) {
        case 0:
            check.result = .leaking
            check.detail = "it left by \(interface)"
            check.hint = "umbel up"
        case let code:
            check.detail = unsafe "\(interface): \(String(cString: strerror(code)))"
        }
        return check
    }

    /// The interface that has the address `wanted`.
    private static func interface(of wanted: IPAddress) -> String? {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { return nil }
        defer { unsafe freeifaddrs(first) }
        var next = unsafe first
        while let entry = unsafe next {
            defer { unsafe next = entry.pointee.ifa_next }
            guard let address = unsafe entry.pointee.ifa_addr else { continue }
            if unsafe ip(of: address) == wanted {
                return unsafe String(cString: entry.pointee.ifa_name)
            }
        }
        return nil
    }

    /// The address in a kernel's structure; `nil` for what is neither IPv4 nor IPv6.
    private static func ip(of address: UnsafePointer<sockaddr>) -> IPAddress? {
        switch unsafe Int32(address.pointee.sa_family) {
        case AF_INET:
            unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { pointer in
                unsafe IPAddress(v4: UInt32(bigEndian: pointer.pointee.sin_addr.s_addr))
            }
        case AF_INET6:
            unsafe address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
                unsafe withUnsafeBytes(of: pointer.pointee.sin6_addr) { bytes in
                    unsafe IPAddress(
                        high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                        low: UInt64(
                            bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                        )
                    )
                }
            }
        default:
            nil
        }
    }

    /// Sends one byte, unmarked; 0, or why the kernel refuses it.
    private static func send(to address: SocketAddress, outOf interface: String) -> Int32 {
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.ip.isV4 ? AF_INET : AF_INET6, type, 0)
        guard descriptor >= 0 else { return errno }
        defer { Glibc.close(descriptor) }
        let isBound = unsafe interface.withCString { name in
            unsafe setsockopt(
                descriptor,
                SOL_SOCKET,
                SO_BINDTODEVICE,
                name,
                socklen_t(interface.utf8.count + 1)
            )
        }
        guard isBound == 0 else { return errno }
        return address.ip.isV4
            ? sendV4(to: address, by: descriptor) : sendV6(to: address, by: descriptor)
    }

    private static func sendV4(to address: SocketAddress, by descriptor: Int32) -> Int32 {
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = address.port.bigEndian
        target.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.ip.low).bigEndian
        return unsafe send(&target, by: descriptor)
    }

    private static func sendV6(to address: SocketAddress, by descriptor: Int32) -> Int32 {
        var target = sockaddr_in6()
        target.sin6_family = sa_family_t(AF_INET6)
        target.sin6_port = address.port.bigEndian
        unsafe withUnsafeMutableBytes(of: &target.sin6_addr) { bytes in
            unsafe bytes.storeBytes(of: address.ip.high.bigEndian, as: UInt64.self)
            unsafe bytes.storeBytes(
                of: address.ip.low.bigEndian,
                toByteOffset: 8,
                as: UInt64.self
            )
        }
        return unsafe send(&target, by: descriptor)
    }

    private static func send<Address>(
        _ target: UnsafePointer<Address>,
        by descriptor: Int32
    ) -> Int32 {
        var byte: UInt8 = 0
        let sent = unsafe target.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
            unsafe sendto(
                descriptor,
                &byte,
                1,
                Int32(MSG_DONTWAIT),
                pointer,
                socklen_t(MemoryLayout<Address>.size)
            )
        }
        return sent >= 0 ? 0 : errno
    }
}
