/// Starts hosts of a lab again.
enum LabStart {
    /// Starts what does not run on `host`, and waits until it is ready; a client is connected then.
    ///
    /// - Throws: ``LabError`` where something does not start.
    static func start(
        _ host: String,
        of manifest: inout Manifest,
        in folder: LabFolder
    ) async throws(LabError) {
        let deadline = ContinuousClock.now + LabBuilder.limit
        let index = try manifest.index(of: host)
        guard !manifest.hosts[index].programs.isEmpty else {
            throw LabError("\(host) runs no programs", why: "its role has none")
        }
        for program in manifest.hosts[index].programs.indices {
            let state = manifest.hosts[index].programs[program].process?.state ?? .gone
            guard state == .gone else { continue }
            try ProgramStarter.start(&manifest.hosts[index].programs[program])
            try folder.save(manifest)
        }
        let current = manifest.hosts[index]
        for program in current.programs {
            try await ProgramStarter.waitUntilReady(program, of: current, deadline: deadline)
        }
        if current.role == .client, let umbel = manifest.umbel {
            try await DaemonLauncher.connect(current, umbel: umbel, deadline: deadline)
        }
    }
}
