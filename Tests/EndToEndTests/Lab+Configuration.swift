import Foundation
import HostNetwork
import Testing

extension Lab {
    /// A configuration like that of `host`, but with a folder and socket of its own.
    func configuration(
        like host: String,
        _ changes: [(String, String)] = [],
        owner: String = "root:root"
    ) async throws -> (folder: String, file: String) {
        let own = "\(scratch)/\(UUID().uuidString)"
        let files = FileManager.default
        try files.createDirectory(atPath: own, withIntermediateDirectories: true)
        let directory =
            URL(fileURLWithPath: folder(host))
            .deletingLastPathComponent().deletingLastPathComponent().path + "/directory"
        try files.copyItem(atPath: directory, toPath: "\(own)/directory")
        try files.copyItem(atPath: "\(folder(host))/state", toPath: "\(own)/state")
        let name = host == "client" ? "client" : "relay"
        var text = try String(
            contentsOfFile: "\(folder(host))/\(name).toml",
            encoding: .utf8
        )
        text = text.replacing(directory, with: "\(own)/directory")
            .replacing(folder(host), with: own)
        for (old, new) in changes {
            try #require(text.contains(old))
            text = text.replacing(old, with: new)
        }
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(own)/node.toml"))
        try await CommandRunner().run(["chown", "-R", owner, own])
        return (own, "\(own)/node.toml")
    }
}
