import Foundation

/// A folder of its own for one test, removed with the value.
final class ScratchFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Writes `text` to the file `name`, and returns its path.
    func write(_ name: String, _ text: String, mode: Int = 0o600) throws -> String {
        let file = "\(path)/\(name)"
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file)
        return file
    }
}

/// The folder of the project's example files.
let examples = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Topology/examples").path

/// A relay's file with the least it needs; replace or append to break it.
let leastRelay = """
    [node]
    nickname = "iris"
    state = "state"
    [listen]
    addresses = ["192.0.2.1:4433"]
    [directory]
    network = "network.toml"
    consensus = "/var/consensus"
    """
