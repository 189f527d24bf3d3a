import Base
import Foundation

/// The machine's resolver file, pointed into the tunnel and later put back exactly.
///
/// The plain-file way: what stood there (a file with its mode and owner, a symbolic link, or
/// nothing) is kept in the state folder before anything is written. ``MachineResolver`` decides
/// where this is the way.
public struct ResolverFile: Hashable, Sendable {
    /// The file, /etc/resolv.conf unless a test says otherwise.
    public var path: String
    /// Where what stood there is kept.
    public var recordPath: String

    /// What stood at ``path`` before.
    private struct Original: Codable {
        var link: String?
        var contents: Data?
        var mode: Int?
        var owner: Int?
        var group: Int?
    }

    /// Makes the resolver file at `path`, remembered in `stateFolder` (such as /run/umbel).
    public init(path: String = "/etc/resolv.conf", stateFolder: String) {
        self.path = path
        recordPath = "\(stateFolder)/resolver.json"
    }

    /// The text that asks the tunnel's resolver and nobody else.
    public static let tunnelText = """
        # Written by umbel; `umbel down` puts back what stood here.
        nameserver \(TunnelAddresses.resolverV4)
        nameserver \(TunnelAddresses.resolverV6)

        """

    /// Points the file into the tunnel; safe to repeat: the first original is the one kept.
    ///
    /// - Throws: ``HostNetworkError`` where the file or the record cannot be written.
    public func apply() throws(HostNetworkError) {
        do {
            let files = FileManager.default
            if let link = try? files.destinationOfSymbolicLink(atPath: path) {
                try keep(Original(link: link))
                try files.removeItem(atPath: path)
            } else if let contents = files.contents(atPath: path) {
                // A file that already asks the tunnel is not ours to restore.
                guard contents != Data(Self.tunnelText.utf8) else { return }
                let attributes = try files.attributesOfItem(atPath: path)
                try keep(
                    Original(
                        contents: contents,
                        mode: (attributes[.posixPermissions] as? NSNumber)?.intValue,
                        owner: (attributes[.ownerAccountID] as? NSNumber)?.intValue,
                        group: (attributes[.groupOwnerAccountID] as? NSNumber)?.intValue
                    )
                )
            } else {
                try keep(Original())
            }
            try write(Data(Self.tunnelText.utf8))
        } catch {
            throw HostNetworkError(what: "cannot point \(path) into the tunnel", why: "\(error)")
        }
    }

    /// Puts back what stood there and forgets it; nothing remembered is no error.
    ///
    /// - Throws: ``HostNetworkError`` where it cannot be put back; the record then stays.
    public func restore() throws(HostNetworkError) {
        let files = FileManager.default
        guard let data = files.contents(atPath: recordPath) else { return }
        do {
            let original = try JSONDecoder().decode(Original.self, from: data)
            if let link = original.link {
                try? files.removeItem(atPath: path)
                try files.createSymbolicLink(atPath: path, withDestinationPath: link)
            } else if let contents = original.contents {
                try write(contents)
                var attributes: [FileAttributeKey: Any] = [:]
                attributes[.posixPermissions] = original.mode
                attributes[.ownerAccountID] = original.owner
                attributes[.groupOwnerAccountID] = original.group
                try files.setAttributes(attributes, ofItemAtPath: path)
            } else if files.fileExists(atPath: path) {
                try files.removeItem(atPath: path)
            }
            try files.removeItem(atPath: recordPath)
        } catch {
            throw HostNetworkError(
                what: "cannot put \(path) back",
                why: "\(error)",
                hint: "what stood there is in \(recordPath)"
            )
        }
    }

    /// The text that stood there before it was pointed into the tunnel; where it still stands, that;
    /// `nil` where there was none.
    func originalText() -> String? {
        let record = FileManager.default.contents(atPath: recordPath)
        let original = record.flatMap { try? JSONDecoder().decode(Original.self, from: $0) }
        guard let original else {
            return FileManager.default.contents(atPath: path)
                .map { String(decoding: $0, as: UTF8.self) }
        }
        if let contents = original.contents { return String(decoding: contents, as: UTF8.self) }
        guard let link = original.link else { return nil }
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        let target = URL(fileURLWithPath: link, relativeTo: folder).path
        return FileManager.default.contents(atPath: target)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    private func keep(_ original: Original) throws {
        let record = URL(fileURLWithPath: recordPath)
        guard !FileManager.default.fileExists(atPath: recordPath) else { return }
        try FileManager.default.createDirectory(
            at: record.deletingLastPathComponent(),
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        try JSONEncoder().encode(original).write(to: record, options: .atomic)
    }

    /// Written in place, not renamed over: the file may be a bind mount, as in a namespace.
    private func write(_ contents: Data) throws {
        try contents.write(to: URL(fileURLWithPath: path))
    }
}
