import FoundationEssentials
import Glibc

/// The sole right to serve at a socket's path, held until it is released.
///
/// A lock file beside the socket decides between two nodes that start at once; it is the kernel
/// that lets go of it, whatever way the holder ends.
struct SocketClaim: ~Copyable {
    /// The path of the socket.
    let path: String
    private let lock: Int32

    /// Claims `path`, and removes the socket a dead node left there.
    ///
    /// - Throws: ``Failure`` where another node holds the path or answers at it, where something
    ///   that is no socket lies there, or where the folder cannot be written.
    init(path: String) throws(Failure) {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        if !folder.isEmpty, unsafe mkdir(folder, 0o755) != 0, errno != EEXIST {
            throw Self.unwritable(path, errno, "the folder \(folder) cannot be made: ")
        }
        let lock = unsafe open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0 else { throw Self.unwritable(path, errno) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw Self.taken(path, "another process holds \(path).lock")
        }
        do {
            try Self.removeStale(path)
        } catch {
            close(lock)
            throw error
        }
        self.path = path
        self.lock = lock
    }

    deinit {
        unsafe unlink(path)
        close(lock)
    }

    private static func removeStale(_ path: String) throws(Failure) {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else {
            return
        }
        guard attributes[.type] as? FileAttributeType == .typeSocket else {
            throw unusable(path, "something that is not a socket lies there")
        }
        if answers(path) { throw taken(path, "a node answers there") }
        guard unsafe unlink(path) == 0 else { throw unwritable(path, errno) }
    }

    /// Whether anyone accepts connections at `path`.
    private static func answers(_ path: String) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK, 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = unsafe withUnsafeMutableBytes(of: &address.sun_path) { target in
            guard path.utf8.count < target.count else { return false }
            unsafe target.copyBytes(from: path.utf8)
            return true
        }
        guard fits else { return false }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // A full backlog answers EAGAIN: somebody listens, if slowly.
        return result == 0 || errno == EAGAIN
    }

    private static func taken(_ path: String, _ why: String) -> Failure {
        Failure(
            "cannot serve at \(path)",
            why: why,
            hint: "`umbel status --socket \(path)` asks the node that runs already",
            exit: .unavailable
        )
    }

    private static func unwritable(
        _ path: String,
        _ code: Int32,
        _ what: String = ""
    ) -> Failure {
        unusable(
            path,
            unsafe what + String(cString: strerror(code)),
            exit: code == EACCES || code == EPERM ? .permission : .unavailable
        )
    }

    private static func unusable(
        _ path: String,
        _ why: String,
        exit: ExitStatus = .unavailable
    ) -> Failure {
        Failure(
            "cannot serve at \(path)",
            why: why,
            hint: "set `socket` in [control] to a path this user may write",
            exit: exit
        )
    }
}
