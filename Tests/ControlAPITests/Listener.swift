import Foundation

/// A Unix socket that takes connections and says nothing, or one thing, to each.
final class Listener {
    private let descriptor: Int32

    struct Unable: Error { let code: Int32 }

    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0, listen(descriptor, 8) == 0 else { throw Unable(code: errno) }
    }

    /// Answers the first connection with `text` once it has sent anything.
    func answer(_ text: String, thenClose: Bool = true) {
        let descriptor = descriptor
        Thread.detachNewThread {
            let connection = accept(descriptor, nil, nil)
            guard connection >= 0 else { return }
            var request = [UInt8](repeating: 0, count: 4096)
            _ = read(connection, &request, request.count)
            _ = write(connection, text, text.utf8.count)
            if thenClose { Foundation.close(connection) }
        }
    }

    /// Stops listening, and leaves the socket's file behind as a crash does.
    func close() {
        Foundation.close(descriptor)
    }
}
