import Glibc

/// What the system knows about a file: its kind, owner and mode.
struct FileStatus {
    let mode: UInt32
    let owner: UInt32

    /// The status of what `path` names, links followed; `nil` where nothing is there.
    init?(_ path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// The status of the open file `descriptor`; `nil` where it is not open.
    init?(descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        mode = status.st_mode
        owner = status.st_uid
    }

    /// Whether anything is at `path`.
    static func exists(_ path: String) -> Bool {
        Self(path) != nil
    }

    var isRegularFile: Bool { mode & S_IFMT == S_IFREG }
    var isFolder: Bool { mode & S_IFMT == S_IFDIR }

    /// Whether anyone but the owner may do anything.
    var isOpenToOthers: Bool { mode & 0o077 != 0 }

    /// Whether it belongs to this process's user, or to root.
    var isOurs: Bool { owner == geteuid() || owner == 0 }

    /// The permission bits as four octal digits.
    var permissions: String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
