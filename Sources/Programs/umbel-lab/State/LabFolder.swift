import Foundation
import Glibc
import HostNetwork

/// A lab's folder under /run/umbel-lab: its manifest, and one folder per host.
///
/// Whoever changes the lab holds the folder's lock; the kernel drops it with the process.
struct LabFolder {
    static let root = "/run/umbel-lab"

    /// Settings of the whole machine, shared by all labs and put back with the last of them.
    static let machineSettings = KernelSettings(recordPath: "\(root)/.settings.json")

    var lab: String

    /// The folder's path.
    var path: String { "\(Self.root)/\(lab)" }
    /// The manifest's path.
    var manifestPath: String { "\(path)/manifest.json" }

    /// The folder of the host `name`: configuration, state, socket and logs.
    func host(_ name: String) -> String { "\(path)/hosts/\(name)" }

    /// A lock held on a lab, until it is released or the process ends.
    struct Lock {
        fileprivate var descriptor: Int32

        func release() {
            close(descriptor)
        }
    }

    /// The names of all labs there are, sorted.
    static func all() -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [])
            .filter { !$0.hasPrefix(".") }.sorted()
    }

    /// Checks that `name` can be a lab's: it begins the names of namespaces.
    static func check(name: String) throws(LabError) {
        let isName =
            (1...20).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (97...122).contains($0) || (48...57).contains($0) || $0 == 45
            } && name.utf8.first != 45
        guard isName else {
            throw LabError(
                "`\(name)` cannot name a lab",
                why: "a name is 1 to 20 lower case letters, digits and dashes"
            )
        }
    }

    /// Makes the folder where it is missing and locks it.
    ///
    /// - Throws: ``LabError`` where another command is changing the lab.
    func lock() throws(LabError) -> Lock {
        while true {
            do {
                try FileManager.default.createDirectory(
                    atPath: path,
                    withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700]
                )
            } catch {
                throw LabError("cannot make \(path)", why: "\(error)", hint: "run as root")
            }
            let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if descriptor < 0 { continue }  // Removed by another command in between.
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                close(descriptor)
                throw LabError(
                    "lab `\(lab)` is busy",
                    why: "another umbel-lab command is changing it",
                    hint: "wait for it to end"
                )
            }
            var held = stat()
            var named = stat()
            let isSame = unsafe (fstat(descriptor, &held) == 0 && stat(path, &named) == 0)
            if isSame, held.st_ino == named.st_ino { return Lock(descriptor: descriptor) }
            close(descriptor)
        }
    }

    /// Locks what all labs share, waiting for its holder; this lab's folder must exist.
    ///
    /// A lab makes its folder before it asks for this lock, and another lab counts the folders
    /// while it holds it: so settings are never put back under a lab that is being built.
    ///
    /// - Throws: ``LabError`` where the folder of all labs is gone.
    func lockMachine() throws(LabError) -> Lock {
        let descriptor = unsafe open(Self.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LabError("cannot lock \(Self.root)", why: unsafe String(cString: strerror(errno)))
        }
        while flock(descriptor, LOCK_EX) != 0, errno == EINTR {}
        return Lock(descriptor: descriptor)
    }

    /// The manifest, or `nil` where there is no such lab.
    ///
    /// - Throws: ``LabError`` where it cannot be understood.
    func manifest() throws(LabError) -> Manifest? {
        guard let data = FileManager.default.contents(atPath: manifestPath) else { return nil }
        do {
            return try JSONDecoder().decode(Manifest.self, from: data)
        } catch {
            throw LabError("cannot understand \(manifestPath)", why: "\(error)")
        }
    }

    /// The manifest of a lab that must be there.
    ///
    /// - Throws: ``LabError`` where it is not.
    func existing() throws(LabError) -> Manifest {
        if let manifest = try manifest() { return manifest }
        let others = Self.all()
        throw LabError(
            "there is no lab `\(lab)`",
            why: others.isEmpty ? "none is up" : "up: \(others.joined(separator: ", "))",
            hint: "umbel-lab up Topology/lab.yaml"
        )
    }

    /// Writes the manifest in one step, so that a crash leaves the one before or this one.
    func save(_ manifest: Manifest) throws(LabError) {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try encoder.encode(manifest).write(
                to: URL(fileURLWithPath: manifestPath),
                options: .atomic
            )
        } catch {
            throw LabError("cannot write \(manifestPath)", why: "\(error)")
        }
    }

    /// Changes the manifest of a lab that is there, holding its lock.
    func change(_ body: (inout Manifest) async throws -> Void) async throws {
        // Before the lock, which would make the folder.
        _ = try existing()
        let lock = try lock()
        defer { lock.release() }
        var manifest = try existing()
        try await body(&manifest)
        try save(manifest)
    }

    /// Removes the folder, and the folder of all labs where it was the last.
    func remove() throws(LabError) {
        do {
            if FileManager.default.fileExists(atPath: path) {
                try FileManager.default.removeItem(atPath: path)
            }
        } catch {
            throw LabError("cannot remove \(path)", why: "\(error)")
        }
        // Fails while other labs are there, which is what is wanted.
        _ = unsafe rmdir(Self.root)
    }
}
