import Foundation

/// Whether this machine is to be locked even while nobody wants a tunnel: a file that is there, or
/// not.
///
/// It outlives restarts, so that the lock can be put on before there is a network.
public struct Lockdown: Hashable, Sendable {
    /// The file.
    public var path: String

    /// The lockdown remembered in `stateFolder`.
    public init(stateFolder: String) {
        path = "\(stateFolder)/lockdown"
    }

    /// Whether it is on.
    public var isOn: Bool {
        FileManager.default.fileExists(atPath: path)
    }

    /// Turns it on or off, for good: what stands afterwards also stands after a power cut.
    ///
    /// - Throws: ``HostNetworkError`` where the file cannot be written or removed.
    public func set(_ isOn: Bool) throws(HostNetworkError) {
        guard isOn != self.isOn else { return }
        let file = URL(fileURLWithPath: path)
        let folder = file.deletingLastPathComponent()
        do {
            if isOn {
                try FileManager.default.createDirectory(
                    at: folder,
                    withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700]
                )
                try Data("This machine stays locked: `umbel lockdown off` ends that.\n".utf8)
                    .write(to: file, options: .atomic)
                try Self.flush(path)
            } else {
                try FileManager.default.removeItem(at: file)
            }
            try Self.flush(folder.path)
        } catch {
            throw HostNetworkError(
                what: "lockdown cannot be turned \(isOn ? "on" : "off") for good",
                why: "\(path): \(error)",
                hint: "check the folder's owner and the room on its disk"
            )
        }
    }

    /// Has the disk take in the file or folder at `path`.
    private static func flush(_ path: String) throws {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CocoaError(.fileReadUnknown)
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }
}
