import Foundation
import HostNetwork

/// Builds a lab from its topology: network, servers, directory, relays, client, in this order.
struct LabBuilder {
    var topology: Topology
    /// The topology's file, as an absolute path.
    var file: String
    var folder: LabFolder
    var progress: Progress

    /// How long everything together may take, on a machine that is busy with other things.
    ///
    /// Mints draw their keys and are listed two consensuses later; then a client buys what it pays
    /// with.
    static let limit = Duration.seconds(90)

    /// What each client beyond the first adds to it: it makes keys, starts and connects.
    static let clientLimit = Duration.seconds(3)

    /// Clients that connect at once; more would only wait for the same processors.
    private static let connectWidth = 4

    /// Builds the lab; the manifest is on disk before each thing it names is made.
    ///
    /// - Throws: ``LabError``; what was made then stays for a look at the logs, until `down`.
    func build() async throws(LabError) {
        let crowd = topology.hosts.filter { $0.role == .client }.count
        let deadline = ContinuousClock.now + Self.limit + Self.clientLimit * max(0, crowd - 1)
        let umbel =
            topology.hosts.contains { $0.role == .relay } ? try DaemonLauncher.locate() : nil
        var manifest = try claim(umbel: umbel)
        do {
            try await allowCubic()
            let network = NetworkBuilder(topology: topology, folder: folder)
            try await network.build(manifest)
            try network.writeResolverFiles(manifest)
            progress.say("\(manifest.hosts.count) hosts and the core")
            try await startInternet(&manifest, deadline: deadline)
            if let umbel {
                try await startUmbel(umbel, &manifest, deadline: deadline)
            }
            for index in manifest.hosts.indices {
                let faults = topology.host(manifest.hosts[index].name)?.link ?? .none
                guard faults != .none else { continue }
                try await Impairment(folder: folder).apply(faults, toHostAt: index, of: &manifest)
            }
        } catch {
            manifest.phase = .failed
            try folder.save(manifest)
            throw error
        }
        manifest.phase = .ready
        try folder.save(manifest)
    }

    /// Writes down every name the lab will use, after making sure none is taken.
    private func claim(umbel: String?) throws(LabError) -> Manifest {
        let builder = NetworkBuilder(topology: topology, folder: folder)
        var manifest = Manifest(
            lab: folder.lab,
            topology: file,
            mode: topology.mode,
            boot: Manifest.currentBoot(),
            umbel: umbel
        )
        manifest.hosts = try builder.plannedHosts()
        manifest.namespaces = [manifest.core] + manifest.hosts.map(\.namespace)
        manifest.resolverFolders = manifest.hosts.map { "/etc/netns/\($0.namespace)" }
        for name in manifest.namespaces where NetworkNamespace(name).exists {
            throw LabError(
                "the namespace \(name) is taken",
                why: "it is not of a lab that is up, so it is not ours to remove",
                hint: "umbel-lab up --name OTHER …, or ip netns delete \(name)"
            )
        }
        for path in manifest.resolverFolders where FileManager.default.fileExists(atPath: path) {
            throw LabError(
                "the folder \(path) is taken",
                why: "it is not of a lab that is up, so it is not ours to remove"
            )
        }
        for host in manifest.hosts {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder.host(host.name) + "/state",
                    withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700]
                )
            } catch {
                throw LabError("cannot make \(folder.host(host.name))", why: "\(error)")
            }
        }
        try folder.save(manifest)
        return manifest
    }

    private func allowCubic() async throws(LabError) {
        let machine = try folder.lockMachine()
        defer { machine.release() }
        try await NetworkBuilder.allowCubic()
    }

    private func startInternet(
        _ manifest: inout Manifest,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        for index in manifest.hosts.indices {
            let name = manifest.hosts[index].name
            guard let host = topology.host(name), let services = host.services else { continue }
            let launcher = ServiceLauncher(
                host: host,
                services: services,
                folder: folder.host(name),
                runner: CommandRunner(namespace: manifest.hosts[index].namespace)
            )
            manifest.hosts[index].programs = try launcher.programs()
            try await start([index], &manifest, deadline: deadline)
            progress.say("\(name) serves")
        }
    }

    private func startUmbel(
        _ umbel: String,
        _ manifest: inout Manifest,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        let launcher = DaemonLauncher(topology: topology, folder: folder, umbel: umbel)
        try await launcher.prepare(manifest.hosts, progress: progress)
        for role in [Topology.Role.authority, .relay, .client] {
            // A client that finds its account empty waits before it asks again.
            if role == .client, topology.hosts.contains(where: \.isMint) {
                try await launcher.deliverGrants(deadline: deadline)
                progress.say("every account has money")
                if topology.payments == .on {
                    try await waitForPay(manifest, deadline: deadline)
                    progress.say("relays ask for pay")
                }
            }
            var indices: [Int] = []
            for index in manifest.hosts.indices where manifest.hosts[index].role == role {
                guard let host = topology.host(manifest.hosts[index].name) else { continue }
                manifest.hosts[index].programs = try launcher.programs(of: host)
                if host.startsByItself { indices.append(index) }
            }
            try await start(indices, &manifest, deadline: deadline)
            if !indices.isEmpty { progress.say("\(indices.count) × \(role.rawValue) ready") }
        }
        let clients = manifest.hosts.filter {
            $0.role == .client && topology.host($0.name)?.startsByItself == true
        }
        try await connect(clients, umbel: umbel, deadline: deadline)
    }

    /// Waits until each relay knows what the mints sell: a circuit made before is carried for nothing.
    private func waitForPay(
        _ manifest: Manifest,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        struct Status: Decodable {
            var directory: Directory?
            struct Directory: Decodable { var paid: Bool }
        }
        for host in manifest.hosts where host.role == .relay {
            guard let program = host.programs.first, let socket = program.socket,
                program.process != nil
            else { continue }
            while true {
                let status: Status = try ControlProbe(socket: socket)
                    .report("/v1/status", of: host.name, subject: "whether pay is in force")
                if status.directory?.paid == true { break }
                guard ContinuousClock.now < deadline else {
                    throw LabError(
                        "\(host.name) asks for no pay",
                        why: "its directory lists no keys of the mints",
                        hint: "see the logs of the mints, in the folder `umbel-lab status` shows"
                    )
                }
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Connects clients, a few at once.
    private func connect(
        _ clients: [Manifest.Host],
        umbel: String,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        let progress = progress
        let failure = await withTaskGroup(of: Result<Void, LabError>.self) { group in
            var rest = clients[...]
            func next() {
                guard let host = rest.popFirst() else { return }
                group.addTask {
                    do throws(LabError) {
                        try await DaemonLauncher.connect(host, umbel: umbel, deadline: deadline)
                        progress.say("\(host.name) connected")
                        return .success(())
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for _ in 0..<Self.connectWidth { next() }
            while let result = await group.next() {
                if case .failure(let error) = result { return error as LabError? }
                next()
            }
            return nil
        }
        if let failure { throw failure }
    }

    /// Starts every program of the hosts at `indices`, then waits for all of them.
    private func start(
        _ indices: [Int],
        _ manifest: inout Manifest,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        try folder.save(manifest)
        for index in indices {
            for program in manifest.hosts[index].programs.indices {
                try ProgramStarter.start(&manifest.hosts[index].programs[program])
            }
        }
        try folder.save(manifest)
        for index in indices {
            for program in manifest.hosts[index].programs {
                try await ProgramStarter.waitUntilReady(
                    program,
                    of: manifest.hosts[index],
                    deadline: deadline
                )
            }
        }
    }
}
