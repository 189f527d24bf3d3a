import CLinux
import EventLoop
import FoundationEssentials
import Glibc

/// The process a tunnel belongs to, which a later one of its number cannot be taken for.
final class OwnerProcess: Sendable {
    /// Its number.
    let pid: Int32
    /// Its effective user.
    let user: UInt32
    private let handle: OwnedDescriptor

    /// Takes hold of the process `pid`.
    ///
    /// - Throws: ``IOError`` where there is no such process.
    init(pid: Int32) throws(IOError) {
        handle = try OwnedDescriptor(clinux_process_open(pid), "find process", "\(pid)")
        // Not the owner of /proc/PID, which is root for processes that may not be traced.
        guard let user = Self.user(of: pid) else {
            throw IOError("find process", "\(pid)", code: ESRCH)
        }
        self.pid = pid
        self.user = user
        // What was read is of the process that is held only while that one runs.
        if hasEnded { throw IOError("find process", "\(pid)", code: ESRCH) }
    }

    /// Whether it has ended, waited for by its parent or not.
    var hasEnded: Bool {
        var entry = pollfd(fd: handle.number, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&entry, 1, 0) > 0
    }

    private static func user(of pid: Int32) -> UInt32? {
        let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("Uid:") }
        // Real, effective, saved, of the file system.
        let fields = line?.split(whereSeparator: \.isWhitespace) ?? []
        return fields.count > 2 ? UInt32(fields[2]) : nil
    }
}
