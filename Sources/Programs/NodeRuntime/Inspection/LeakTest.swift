import Base
import ControlAPI
import Foundation
import Glibc
import HostNetwork
import UDPTransport

/// Looks at whether anything leaves the machine around the tunnel, as an ordinary program would.
///
/// It asks the kernel which way packets would take, and sends one datagram of a byte, to port 9
/// (discard), out of the interface the guard is reached by: the kernel must refuse it. Our own mark,
/// which alone passes beside the tunnel, is on none of what is tried.
struct LeakTest {
    /// Whether the whole machine is led through a tunnel.
    let leadsMachine: Bool
    /// Whether the kernel's lock stands.
    let isLocked: Bool
    /// The guard's address; `nil` while there is no circuit.
    let guardAddress: SocketAddress?

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
        return LeakReport(checks: [lock, resolver] + ways + [bypass(port: 9), bypass(port: 53)])
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
        let isOurs =
            source == nil || source == TunnelAddresses.clientV4
            || source == TunnelAddresses.clientV6
        return LeakReport.Check(
            name: name,
            tried: "which way a packet to \(address) takes",
            result: isOurs ? .passed : .leaking,
            detail: source.map { "it leaves from \($0)" } ?? "there is no way at all",
            hint: isOurs ? nil : "umbel doctor"
        )
    }

    /// Tries to send around the tunnel, out of the interface our own datagrams leave by.
    private func bypass(port: UInt16) -> LeakReport.Check {
        var check = LeakReport.Check(
            name: "bypass, port \(port)",
            tried: "a datagram to port \(port) out of the interface the guard is reached by",
            result: .skipped,
            detail: "there is no circuit to tell that interface by",
            hint: "umbel up --wait"
        )
        guard let guardAddress, guardAddress.ip.isV4,
            let source = UDPSocket.source(toward: guardAddress, mark: ProcessRights.mark),
            let interface = Self.interface(of: "\(source)")
        else { return check }
        switch Self.send(to: guardAddress, port: port, outOf: interface) {
        case 0:
            check.result = .leaking
            check.detail = "it left by \(interface)"
            check.hint = "umbel up"
        case let code:
            check.result = .passed
            check.detail = unsafe "\(interface): \(String(cString: strerror(code)))"
            check.hint = nil
        }
        return check
    }

    /// The interface that has the address `text`.
    private static func interface(of text: String) -> String? {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { return nil }
        defer { unsafe freeifaddrs(first) }
        var next = unsafe first
        while let entry = unsafe next {
            defer { unsafe next = entry.pointee.ifa_next }
            guard let address = unsafe entry.pointee.ifa_addr,
                unsafe address.pointee.sa_family == sa_family_t(AF_INET)
            else { continue }
            var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let status = unsafe getnameinfo(
                address,
                socklen_t(MemoryLayout<sockaddr_in>.size),
                &name,
                socklen_t(name.count),
                nil,
                0,
                NI_NUMERICHOST
            )
            let letters = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let found = String(decoding: letters, as: UTF8.self)
            if status == 0, found == text { return unsafe String(cString: entry.pointee.ifa_name) }
        }
        return nil
    }

    /// Sends one byte, unmarked; 0, or why the kernel refuses it.
    private static func send(
        to address: SocketAddress,
        port: UInt16,
        outOf interface: String
    ) -> Int32 {
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_INET, type, 0)
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
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = port.bigEndian
        target.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.ip.low).bigEndian
        var byte: UInt8 = 0
        let sent = unsafe withUnsafePointer(to: &target) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe sendto(
                    descriptor,
                    &byte,
                    1,
                    Int32(MSG_DONTWAIT),
                    pointer,
                    socklen_t(MemoryLayout<sockaddr_in>.size)
                )
            }
        }
        return sent >= 0 ? 0 : errno
    }
}
