import CLinux
import ControlAPI
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

    /// A copy of the process's descriptor `number`.
    ///
    /// - Throws: ``IOError`` where it has none of that number, or is not this user's to look into.
    func descriptor(_ number: Int32) throws(IOError) -> OwnedDescriptor {
        try OwnedDescriptor(
            clinux_process_descriptor(handle.number, number),
            "take over descriptor \(number) of process",
            "\(pid)"
        )
    }

    /// Sees that a tunnel for this process, or for a thread of it, would be in another network than
    /// the daemon's.
    ///
    /// - Throws: ``Failure`` where it would not, and where the process has no such thread.
    func requireOwnNetwork(thread: Int32?) throws(Failure) {
        let path = "/proc/\(pid)/task/\(thread ?? pid)"
        guard FileManager.default.fileExists(atPath: path) else {
            throw Failure(
                "process \(pid) cannot have a tunnel",
                why: "it has no thread \(thread ?? pid)",
                hint: "umbel run -- COMMAND",
                exit: .failed
            )
        }
        // Not everybody may look at everybody's namespaces: what cannot be told is let pass, for
        // the interface then is in a namespace of the asking user's anyway.
        guard let theirs = Self.network("\(path)/ns/net"),
            theirs == Self.network("/proc/self/ns/net")
        else { return }
        throw Failure(
            "process \(pid) cannot have a tunnel",
            why: "it has no network namespace of its own",
            hint: "umbel run -- COMMAND",
            exit: .failed
        )
    }

    private static func network(_ path: String) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: path)
    }

    private static func user(of pid: Int32) -> UInt32? {
        let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("Uid:") }
        // Real, effective, saved, of the file system.
        let fields = line?.split(whereSeparator: \.isWhitespace) ?? []
        return fields.count > 2 ? UInt32(fields[2]) : nil
    }
}
