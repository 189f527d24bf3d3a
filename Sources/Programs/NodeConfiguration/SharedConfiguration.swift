/// Where a node finds the directory it trusts.
public struct DirectoryFiles: Hashable, Sendable {
    /// Path of the trust root, read by ``NetworkConfiguration``.
    public var network: String
    /// Path of a consensus got some other way than from the network; `nil` for none.
    ///
    /// Read again whenever it changes.
    public var consensus: String?

    static func read(_ section: Section) -> Self? {
        let network = section.requiredPath("network")
        let consensus = section.optionalPath("consensus")
        guard let network else { return nil }
        return Self(network: network, consensus: consensus)
    }
}

/// The Unix socket on which a running node answers the command line.
public struct ControlSocket: Hashable, Sendable {
    /// Path of the socket.
    public var path: String
    /// Group that may use the socket besides its owner; `nil` for the group `umbel` where the
    /// system has one, else the owner's alone.
    public var group: String?

    /// The longest path a Unix socket can have, in bytes.
    static let pathLimit = 107

    static func read(_ section: Section, default fallback: String) -> Self {
        let path = section.path("socket", default: fallback)
        if path.utf8.count > pathLimit {
            section.note(
                "socket",
                what: "`socket` in [control] is too long",
                why: "a socket's path has at most \(pathLimit) bytes, this has \(path.utf8.count)",
                hint: "choose a shorter path, such as \(fallback)"
            )
        }
        return Self(path: path, group: section.optional("group", .text(limit: 32)))
    }
}

extension ConfigurationProblem {
    /// The problem of a file that a configuration names and that is not there; `nil` if it is.
    static func missing(_ path: String, key: String, in file: String, hint: String) -> Self? {
        guard !FileStatus.exists(path) else { return nil }
        return Self(
            what: "\(file): `\(key)` names \(path), which does not exist",
            why: "the node cannot start without it",
            hint: hint
        )
    }
}
