import Foundation

/// The socket of a service manager, and what programs tell it.
public final class ServiceManagerSocket: Sendable {
    /// What programs find in `NOTIFY_SOCKET`.
    public let path: String
    private let descriptor: Int32

    /// Makes a socket, of the file system or, with `isAbstract`, of the kernel's own names.
    ///
    /// - Throws: ``CommandFailure`` where it cannot be made.
    public init(isAbstract: Bool = false) throws {
        let name = "/tmp/umbel-\(UUID().uuidString.prefix(8)).notify"
        path = isAbstract ? "@" + name : name
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { target in
            target.copyBytes(from: bytes)
            if isAbstract { target[0] = 0 }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length)
            }
        }
        guard status == 0 else {
            throw CommandFailure(command: "bind \(path)", output: String(cString: strerror(errno)))
        }
    }

    deinit {
        close(descriptor)
        if path.hasPrefix("/") { unlink(path) }
    }

    /// The next message; `nil` where none comes within the time.
    public func next(milliseconds: Int32 = 10_000) -> String? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, milliseconds) > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
