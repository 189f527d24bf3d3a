import Foundation
import Glibc
import HostNetwork

/// Takes away everything a manifest names; safe to repeat, and after a crash at any point.
struct LabRemoval {
    var folder: LabFolder

    /// Takes the lab away, however far it was built, holding its lock.
    ///
    /// - Throws: ``LabError`` with the first thing that would not go.
    func removeAll(progress: Progress) async throws(LabError) {
        let lock = try folder.lock()
        defer { lock.release() }
        if let manifest = try folder.manifest() {
            try await remove(manifest, progress: progress)
        } else {
            try folder.remove()
        }
    }

    /// Ends the lab's processes and removes its namespaces, files and settings.
    ///
    /// - Throws: ``LabError`` with the first thing that would not go; the manifest then stays.
    func remove(_ manifest: Manifest, progress: Progress) async throws(LabError) {
        if manifest.boot == Manifest.currentBoot() {
            try await endProcesses(manifest, progress: progress)
        }
        for name in manifest.namespaces {
            do {
                try await NetworkNamespace(name).delete()
            } catch {
                throw LabError("cannot remove namespace \(name)", error)
            }
        }
        for path in manifest.resolverFolders where FileManager.default.fileExists(atPath: path) {
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch {
                throw LabError("cannot remove \(path)", why: "\(error)")
            }
        }
        // Fails while others keep files there, which is what is wanted.
        if !manifest.resolverFolders.isEmpty { _ = unsafe rmdir("/etc/netns") }
        let machine = try folder.lockMachine()
        defer { machine.release() }
        try await restoreSettings()
        try folder.remove()
    }

    private func endProcesses(_ manifest: Manifest, progress: Progress) async throws(LabError) {
        let recorded = manifest.hosts.flatMap { host in
            (host.programs + [host.delayBridge].compactMap(\.self)).compactMap(\.process)
        }
        let alive = recorded.filter { $0.state != .gone }
        if !alive.isEmpty { progress.say("ending \(alive.count) programs") }
        await ProcessIdentity.end(alive)
        // What a crash kept from being written down, and what users started inside.
        let own = Self.ancestors()
        for _ in 0..<3 {
            var inside: [ProcessIdentity] = []
            for name in manifest.namespaces {
                do {
                    let pids = try await NetworkNamespace(name).processes()
                    inside += pids.filter { !own.contains($0) }
                        .compactMap { ProcessIdentity(pid: $0) }
                } catch {
                    throw LabError("cannot list the processes of namespace \(name)", error)
                }
            }
            guard !inside.isEmpty else { return }
            await ProcessIdentity.end(inside, grace: .seconds(1))
        }
    }

    /// This process and those it comes from: `down` may be called inside the lab.
    private static func ancestors() -> Set<Int32> {
        var result: Set<Int32> = []
        var pid: Int32? = getpid()
        while let current = pid, current > 1, result.insert(current).inserted {
            pid = ProcessIdentity.parent(of: current)
        }
        return result
    }

    /// Forbids again what labs need allowed on the whole machine, with the last of them.
    private func restoreSettings() async throws(LabError) {
        guard LabFolder.all().allSatisfy({ $0 == folder.lab }) else { return }
        do {
            try await LabFolder.machineSettings.restore(with: CommandRunner())
        } catch {
            throw LabError("cannot put the machine's settings back", error)
        }
    }
}
