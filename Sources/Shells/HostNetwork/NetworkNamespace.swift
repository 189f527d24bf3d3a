import Foundation

/// A network namespace with a name, as `ip netns` keeps it under /run/netns.
public struct NetworkNamespace: Hashable, Sendable {
    /// The name, also the file name under /run/netns.
    public var name: String

    /// Names a namespace, which need not exist yet.
    public init(_ name: String) {
        self.name = name
    }

    /// Whether the namespace is there now.
    public var exists: Bool {
        FileManager.default.fileExists(atPath: "/run/netns/\(name)")
    }

    /// Runs programs inside the namespace.
    public var runner: CommandRunner {
        CommandRunner(namespace: name)
    }

    /// Makes the namespace and brings its loopback up.
    ///
    /// - Throws: ``HostNetworkError``; a namespace of that name that is already there is one.
    public func create() async throws(HostNetworkError) {
        try await CommandRunner().run(["ip", "netns", "add", name])
        try await CommandRunner().run(["ip", "-n", name, "link", "set", "lo", "up"])
    }

    /// Removes the name; the kernel removes the namespace once no process is left in it.
    ///
    /// - Throws: ``HostNetworkError``; that there is no such namespace is none.
    public func delete() async throws(HostNetworkError) {
        guard exists else { return }
        try await CommandRunner().run(["ip", "netns", "delete", name])
    }

    /// The processes that are inside the namespace now.
    ///
    /// - Throws: ``HostNetworkError`` where `ip` fails; none where the namespace is gone.
    public func processes() async throws(HostNetworkError) -> [Int32] {
        guard exists else { return [] }
        let text = try await CommandRunner().run(["ip", "netns", "pids", name])
        return text.split(whereSeparator: \.isWhitespace).compactMap { Int32($0) }
    }
}
