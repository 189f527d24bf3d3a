import Glibc

/// Whom a process belongs to.
enum ProcessOwner {
    /// The user of the process `pid`; `nil` where there is none.
    static func user(of pid: Int32) -> UInt32? {
        var status = stat()
        return unsafe stat("/proc/\(pid)", &status) == 0 ? status.st_uid : nil
    }
}
