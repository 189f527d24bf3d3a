import CLinux
import Foundation
import Glibc

/// The control group of programs whose traffic goes beside the tunnel: `umbel run --outside`.
///
/// The kernel keeps a program's children in its group. With one hierarchy of groups (v2, what
/// distributions have) firewall rules name the group; elsewhere the group of the `net_cls`
/// controller marks sockets, and is mounted where it is not yet.
public struct OutsideGroup: Hashable, Sendable {
    /// How firewall rules know the group's sockets.
    public struct Match: Hashable, Sendable {
        /// The beginning of a rule.
        public var expression: String

        /// Makes a match of the beginning of a rule.
        public init(expression: String) {
            self.expression = expression
        }
    }

    /// The group's folder.
    public let folder: String
    /// How rules know it.
    public let match: Match

    private static let name = "umbel-outside"
    /// What `net_cls` tags sockets with.
    private static let classID: UInt32 = 0x756d_0001
    private static let unified = "/sys/fs/cgroup"

    /// Makes the group, unless it is there.
    ///
    /// - Parameter stateFolder: where `net_cls` is mounted if it has to be.
    /// - Throws: ``HostNetworkError`` with what this machine lacks.
    public init(stateFolder: String) throws(HostNetworkError) {
        if FileManager.default.fileExists(atPath: "\(Self.unified)/cgroup.controllers") {
            folder = "\(Self.unified)/\(Self.name)"
            match = Match(expression: "socket cgroupv2 level 1 \"\(Self.name)\"")
            try Self.makeFolder(folder)
            return
        }
        let root: String
        if let mounted = Self.mountedClassifier() {
            root = mounted
        } else {
            root = "\(stateFolder)/net_cls"
            try Self.mountClassifier(at: root)
        }
        folder = "\(root)/\(Self.name)"
        match = Match(expression: "meta cgroup \(Self.classID)")
        try Self.makeFolder(folder)
        try Self.write("\(Self.classID)", to: "\(folder)/net_cls.classid")
    }

    /// The group where it was made before; `nil` where it was not.
    public static func existing() -> Self? {
        let isUnified = FileManager.default.fileExists(atPath: "\(unified)/cgroup.controllers")
        guard let root = isUnified ? unified : mountedClassifier(),
            FileManager.default.fileExists(atPath: "\(root)/\(name)")
        else { return nil }
        // Nothing is made, so nothing is mounted either.
        return try? Self(stateFolder: "/")
    }

    /// Puts the process `pid` into the group, and with it the children it will have.
    ///
    /// - Throws: ``HostNetworkError`` where the process has ended, or the kernel refuses.
    public func admit(_ pid: Int32) throws(HostNetworkError) {
        try Self.write("\(pid)", to: "\(folder)/cgroup.procs")
    }

    /// Where the classifier of sockets is mounted; `nil` where it is not.
    private static func mountedClassifier() -> String? {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 3, fields[2] == "cgroup" else { continue }
            if fields[3].split(separator: ",").contains("net_cls") { return String(fields[1]) }
        }
        return nil
    }

    private static func mountClassifier(at path: String) throws(HostNetworkError) {
        try makeFolder(path)
        let result = unsafe clinux_mount_socket_classes(path)
        guard result != 0 else { return }
        let reason = unsafe String(cString: strerror(-result))
        throw HostNetworkError(
            what: "programs cannot be told apart on this machine",
            why: "no control groups v2 at \(unified), and net_cls cannot be mounted: \(reason)",
            hint: "boot with systemd.unified_cgroup_hierarchy=1"
        )
    }

    private static func makeFolder(_ path: String) throws(HostNetworkError) {
        guard unsafe mkdir(path, 0o755) != 0, errno != EEXIST else { return }
        throw HostNetworkError(
            what: "cannot make the folder \(path)",
            why: unsafe String(cString: strerror(errno))
        )
    }

    private static func write(_ text: String, to path: String) throws(HostNetworkError) {
        let file = unsafe open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw HostNetworkError(
                what: "cannot open \(path)",
                why: unsafe String(cString: strerror(errno))
            )
        }
        defer { close(file) }
        let bytes = Array(text.utf8)
        guard unsafe Glibc.write(file, bytes, bytes.count) == bytes.count else {
            throw HostNetworkError(
                what: "cannot write \(text) to \(path)",
                why: unsafe String(cString: strerror(errno))
            )
        }
    }
}
