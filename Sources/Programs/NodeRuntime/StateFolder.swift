import FoundationEssentials
public import NodeConfiguration

/// The folder a node keeps its state in, and its small files.
public enum StateFolder {
    /// Makes `folder`, mode 0700, unless it is there.
    ///
    /// - Throws: ``ConfigurationError`` where it cannot be made.
    public static func make(_ folder: String) throws(ConfigurationError) {
        do {
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        } catch {
            throw ConfigurationError([
                ConfigurationProblem(
                    what: "\(folder): cannot be made",
                    why: "\(error)",
                    hint: "check the folder above it and who runs this"
                )
            ])
        }
    }

    /// The bytes of the file `name`; `nil` where there is none.
    static func read(_ path: String) -> [UInt8]? {
        FileManager.default.contents(atPath: path).map { Array($0) }
    }

    /// Puts `bytes` in place of the file at `path`, whole or not at all.
    static func write(_ bytes: [UInt8], to path: String) throws {
        try Data(bytes).write(to: URL(filePath: path), options: .atomic)
    }

    /// Names of the files in `folder`; empty where it cannot be read.
    static func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    /// Removes the file at `path`; one that is not there is no matter.
    static func remove(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Seconds and size that tell one version of a file from another; `nil` where there is none.
    static func stamp(_ path: String) -> FileStamp? {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            let date = attributes[.modificationDate] as? Date
        else { return nil }
        return FileStamp(
            modified: date.timeIntervalSince1970,
            byteCount: (attributes[.size] as? UInt64) ?? 0
        )
    }
}

/// What tells one version of a file from another.
struct FileStamp: Equatable, Sendable {
    var modified: Double
    var byteCount: UInt64
}
