import FoundationEssentials
import Glibc
import NIOCore

/// Who is at the other end of a Unix socket, by the word of the kernel.
///
/// Laid out as `struct ucred`, which the kernel fills in.
public struct PeerCredentials: Hashable, Sendable {
    /// The process that connected.
    public var pid: Int32
    /// Its effective user.
    public var uid: UInt32
    /// Its effective group.
    public var gid: UInt32

    /// Makes credentials from their parts.
    public init(pid: Int32, uid: UInt32, gid: UInt32) {
        self.pid = pid
        self.uid = uid
        self.gid = gid
    }

    /// Asks the kernel who is at the other end of `channel`; `nil` where it is no Unix socket.
    static func ofPeer(on channel: any Channel) async throws -> Self? {
        guard let socket = channel as? any SocketOptionProvider else { return nil }
        let answer: EventLoopFuture<Self> = socket.unsafeGetSocketOption(
            level: .socket,
            name: .init(rawValue: SO_PEERCRED)
        )
        let credentials = try await answer.get()
        return credentials.pid > 0 ? credentials : nil
    }

    /// Whether the peer may give orders: root, this process's own user, or a member of `group`.
    ///
    /// The socket's mode says the same; this holds where the mode was loosened by hand.
    func isAdmitted(group: UInt32?) -> Bool {
        if uid == 0 || uid == geteuid() { return true }
        guard let group else { return false }
        return gid == group || supplementaryGroups.contains(group)
    }

    /// The peer's further groups; empty once it has ended.
    private var supplementaryGroups: [UInt32] {
        let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("Groups:") }
        return line?.dropFirst("Groups:".count).split(whereSeparator: \.isWhitespace)
            .compactMap { UInt32($0) } ?? []
    }
}
