public import Base
import Foundation
import Glibc

/// Names of hosts, asked of this machine's resolver.
public enum HostNames {
    /// The addresses of `name`, none where it has none; blocks the calling thread.
    public static func resolve(_ name: String) -> [IPAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [IPAddress] = []
        var next = unsafe list
        while let entry = unsafe next?.pointee {
            if let text = unsafe numbers(entry.ai_addr, entry.ai_addrlen),
                let address = IPAddress(text)
            {
                addresses.append(address)
            }
            unsafe next = entry.ai_next
        }
        return addresses
    }

    /// The addresses of `name`, asked by a thread of its own.
    public static func addresses(of name: String) async -> [IPAddress] {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: resolve(name)) }
        }
    }

    private static func numbers(
        _ address: UnsafePointer<sockaddr>?,
        _ length: socklen_t
    ) -> String? {
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = unsafe getnameinfo(
            address,
            length,
            &text,
            socklen_t(text.count),
            nil,
            0,
            NI_NUMERICHOST
        )
        guard status == 0 else { return nil }
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }
}
