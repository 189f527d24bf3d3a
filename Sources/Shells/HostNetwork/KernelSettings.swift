import Foundation

/// Kernel settings that were changed and will be put back, remembered in a file.
///
/// The file is written before the kernel is told, and a later change keeps the oldest value it
/// finds there: what `restore` puts back is what stood before the first change, crashes included.
public struct KernelSettings: Hashable, Sendable {
    /// The file that remembers; its folder is made when needed.
    public var recordPath: String

    /// Makes a record kept at `recordPath`.
    public init(recordPath: String) {
        self.recordPath = recordPath
    }

    /// What stands in the file: setting (`net/ipv4/ip_forward`) and its value before us.
    public func originals() -> [String: String] {
        guard let data = FileManager.default.contents(atPath: recordPath) else { return [:] }
        return (try? JSONDecoder().decode([String: String].self, from: data)) ?? [:]
    }

    /// Sets each setting of `values`, remembering what it was.
    ///
    /// - Throws: ``HostNetworkError`` where a setting is unknown or the file cannot be written.
    public func apply(
        _ values: [String: String],
        with runner: CommandRunner
    ) async throws(HostNetworkError) {
        var before = originals()
        var changes: [String] = []
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            let current = try await Self.read(key, with: runner)
            guard current != value else { continue }
            before[key] = before[key] ?? current
            changes.append("\(key)=\(value)")
        }
        guard !changes.isEmpty else { return }
        try write(before)
        try await runner.run(["sysctl", "-q", "-w"] + changes)
    }

    /// Puts every remembered value back and forgets it; nothing remembered is no error.
    ///
    /// Settings of interfaces that are gone are passed over.
    ///
    /// - Throws: ``HostNetworkError`` where the kernel refuses a value; the file then stays.
    public func restore(with runner: CommandRunner) async throws(HostNetworkError) {
        let before = originals()
        if !before.isEmpty {
            let changes = before.sorted(by: { $0.key < $1.key }).map { "\($0.key)=\($0.value)" }
            try await runner.run(["sysctl", "-q", "-e", "-w"] + changes)
        }
        if FileManager.default.fileExists(atPath: recordPath) {
            do {
                try FileManager.default.removeItem(atPath: recordPath)
            } catch {
                throw HostNetworkError(what: "cannot remove \(recordPath)", why: "\(error)")
            }
        }
    }

    /// The value of `key` now, fields separated as the kernel has them.
    ///
    /// - Throws: ``HostNetworkError`` where the setting is unknown.
    public static func read(
        _ key: String,
        with runner: CommandRunner
    ) async throws(HostNetworkError) -> String {
        try await runner.run(["sysctl", "-n", key])
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func write(_ before: [String: String]) throws(HostNetworkError) {
        do {
            let file = URL(fileURLWithPath: recordPath)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
            try encoder.encode(before).write(to: file, options: .atomic)
        } catch {
            throw HostNetworkError(what: "cannot write \(recordPath)", why: "\(error)")
        }
    }
}
