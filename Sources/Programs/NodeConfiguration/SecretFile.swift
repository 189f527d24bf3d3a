import FoundationEssentials
import Glibc

/// Files that hold secrets: only their owner may read them, and they are never overwritten.
public enum SecretFile {
    /// The ending by which key files are known.
    public static let keySuffix = ".key"

    /// Bytes a secret file may have, at most.
    public static let limit = 65_536

    /// Reads the secret at `path`.
    ///
    /// - Throws: ``ConfigurationError`` where the file is missing, too long, not a regular file,
    ///   another user's, or open to others.
    public static func read(_ path: String) throws(ConfigurationError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw ConfigurationError([unreadable(path, errno)])
        }
        defer { close(descriptor) }
        guard let status = FileStatus(descriptor: descriptor) else {
            throw ConfigurationError([unreadable(path, errno)])
        }
        if let problem = problem(path, status) { throw ConfigurationError([problem]) }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var count = 0
        while count < bytes.count {
            let got = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(
                    descriptor,
                    buffer.baseAddress?.advanced(by: count),
                    limit + 1 - count
                )
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw ConfigurationError([unreadable(path, errno)]) }
            if got == 0 { break }
            count += got
        }
        guard count <= limit else {
            throw ConfigurationError([
                ConfigurationProblem(
                    what: "\(path): too long for a key file",
                    why: "it has more than \(limit) bytes",
                    hint: "name the right file"
                )
            ])
        }
        return Array(bytes[..<count])
    }

    /// Writes `secret` to a new file at `path`, mode 0600, and to the disk.
    ///
    /// - Throws: ``ConfigurationError`` where the file exists or cannot be written.
    public static func create(_ path: String, _ secret: [UInt8]) throws(ConfigurationError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
        let descriptor = unsafe open(path, flags, 0o600)
        guard descriptor >= 0 else {
            let code = errno
            throw ConfigurationError([
                ConfigurationProblem(
                    what: "\(path): cannot be created",
                    why: reason(code),
                    hint: code == EEXIST
                        ? "a key is never overwritten: move the old one away first"
                        : "check the folder and its owner"
                )
            ])
        }
        defer { close(descriptor) }
        var sent = 0
        while sent < secret.count {
            let count = unsafe secret.withUnsafeBytes { buffer in
                unsafe Glibc.write(
                    descriptor,
                    buffer.baseAddress?.advanced(by: sent),
                    buffer.count - sent
                )
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw unwritten(path, errno) }
            sent += count
        }
        guard fsync(descriptor) == 0 else { throw unwritten(path, errno) }
    }

    /// What is wrong with the permissions of `folder` and of the keys in it; empty if it is absent.
    public static func problems(inFolder folder: String) -> [ConfigurationProblem] {
        guard let status = FileStatus(folder) else { return [] }
        guard status.isFolder else {
            return [
                ConfigurationProblem(
                    what: "\(folder): not a folder",
                    why: "`state` names the folder of keys and state",
                    hint: "name a folder, or move the file away"
                )
            ]
        }
        var problems: [ConfigurationProblem] = []
        if status.isOpenToOthers || !status.isOurs {
            problems.append(
                ConfigurationProblem(
                    what: "\(folder): mode \(status.permissions), owner \(status.owner)",
                    why: "a folder of keys must be its user's alone, mode 0700",
                    hint: "chmod 0700 \(folder)"
                )
            )
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        for name in names.sorted() where name.hasSuffix(keySuffix) {
            let path = "\(folder)/\(name)"
            guard let status = FileStatus(path) else { continue }
            if let problem = problem(path, status) { problems.append(problem) }
        }
        return problems
    }

    private static func problem(_ path: String, _ status: FileStatus) -> ConfigurationProblem? {
        guard status.isRegularFile else {
            return ConfigurationProblem(
                what: "\(path): not a regular file",
                why: "keys are read from files only",
                hint: "name the key file itself"
            )
        }
        guard status.isOurs else {
            return ConfigurationProblem(
                what: "\(path): belongs to user \(status.owner)",
                why: "a key must belong to the user that runs the node",
                hint: "chown it to user \(geteuid())"
            )
        }
        guard !status.isOpenToOthers else {
            return ConfigurationProblem(
                what: "\(path): mode \(status.permissions) lets others at the key",
                why: "a key must be its owner's alone, mode 0600",
                hint: "chmod 0600 \(path)"
            )
        }
        return nil
    }

    private static func unreadable(_ path: String, _ code: Int32) -> ConfigurationProblem {
        ConfigurationProblem(
            what: "\(path): cannot be read",
            why: reason(code),
            hint: code == ENOENT ? "create it with `umbel keygen`" : "run as the key's owner"
        )
    }

    private static func unwritten(_ path: String, _ code: Int32) -> ConfigurationError {
        ConfigurationError([
            ConfigurationProblem(
                what: "\(path): cannot be written",
                why: reason(code),
                hint: "check the disk, then remove the unfinished file"
            )
        ])
    }

    private static func reason(_ code: Int32) -> String {
        unsafe String(cString: strerror(code))
    }
}
