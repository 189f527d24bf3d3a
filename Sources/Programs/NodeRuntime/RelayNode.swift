import Base
public import ControlAPI
import CryptoPrimitives
import Directory
import EventLoop
import Flows
import HostNetwork
public import Logging
public import NodeConfiguration
import RelayCore
import Store
import Tickets
import UDPTransport
import Wire

/// A relay or exit that runs: threads, sockets, TUN device and firewall around a ``RelayControl``
/// and a ``RelayShard``.
public final class RelayNode: RelayService {
    let configuration: RelayConfiguration
    let identity: NodeID
    private let started: Instant
    let control: Mailbox<RelayControlMessage>
    private let shards: [Mailbox<RelayLoopMessage>]
    let keeper: RelayKeeper
    private let version: String
    let logger: Logger
    private let firewall: ExitFirewall?
    let resolver: ResolverKeeper?
    let directory: RelayDirectory
    private let failures: AsyncStream<String>

    /// Starts the relay that `configuration` describes, as `version` of the program.
    ///
    /// - Throws: ``ConfigurationError``, ``Failure``, ``IOError``, `HostNetworkError` or
    ///   `DirectoryError`, each saying what is wrong and what to do.
    ///
    /// - Parameter keyLog: where its keys are written down; `nil`, as it should be, for nowhere.
    public static func start(
        _ configuration: RelayConfiguration,
        version: String,
        revealing keyLog: KeyLog? = nil,
        logger: Logger
    ) async throws -> RelayNode {
        let network = try NetworkConfiguration(file: configuration.directory.network)
        let root = try TrustRoot(network)
        let keys = try RelayKeys(folder: configuration.stateFolder)
        // What another relay may hold comes first: its firewall stays untouched where it runs.
        let sockets = try PacketSockets(configuration.listenAddresses, options: UDPOptions())
        let plan = ExitPlan(configuration)
        let firewall = plan.firewall
        guard configuration.exit.isEnabled else {
            await Self.removeLeftovers(firewall)
            let node = try RelayNode(
                configuration,
                network: network,
                root: root,
                keys: keys,
                sockets: sockets,
                tunnel: nil,
                exit: nil,
                firewall: nil,
                resolver: nil,
                version: version,
                keyLog: keyLog,
                logger: logger
            )
            try await node.begin()
            return node
        }
        try plan.checkAddresses()
        let resolver = try plan.resolver()
        let port = try TunnelPort(
            name: configuration.exit.interface,
            isShared: configuration.limits.shards > 1
        )
        let exit = plan.settings(offload: port.offload)
        var resolving: ResolverKeeper?
        do {
            // What is missing shows before anything of another exit's could be touched.
            try await firewall.install()
            try await plan.raiseInterface()
            if let resolver {
                resolving = try await ResolverKeeper.start(resolver, logger: logger)
            }
            let node = try RelayNode(
                configuration,
                network: network,
                root: root,
                keys: keys,
                sockets: sockets,
                tunnel: port,
                exit: exit,
                firewall: firewall,
                resolver: resolving,
                version: version,
                keyLog: keyLog,
                logger: logger
            )
            try await node.begin()
            return node
        } catch {
            await resolving?.stop()
            await Self.removeLeftovers(firewall)
            throw error
        }
    }

    /// Takes away the firewall of a relay that does not run, where nft is there to do it.
    private static func removeLeftovers(_ firewall: ExitFirewall) async {
        do throws(HostNetworkError) {
            guard try await firewall.table.listing(with: firewall.runner) != nil else { return }
            try await firewall.remove()
        } catch {
            // A relay that is no exit needs no nft; an exit's start says itself what is missing.
        }
    }

    private init(
        _ configuration: RelayConfiguration,
        network: NetworkConfiguration,
        root: TrustRoot,
        keys: RelayKeys,
        sockets: consuming PacketSockets,
        tunnel: consuming TunnelPort?,
        exit: ExitSettings?,
        firewall: ExitFirewall?,
        resolver: ResolverKeeper?,
        version: String,
        keyLog: KeyLog?,
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.version = version
        self.logger = logger
        self.firewall = firewall
        self.resolver = resolver
        identity = NodeID(keys.identity.publicKey)
        started = MonotonicClock.now()
        let controlWakeup = try Wakeup()
        let control = Mailbox<RelayControlMessage>(capacity: 16_384, wakeup: controlWakeup)
        self.control = control
        let (failures, failed) = AsyncStream.makeStream(of: String.self)
        self.failures = failures

        let shardCount = configuration.limits.shards
        let wakeups = try (0..<shardCount).map { _ in try Wakeup() }
        let shards = wakeups.map { Mailbox<RelayLoopMessage>(capacity: 16_384, wakeup: $0) }
        self.shards = shards
        keeper = RelayKeeper(
            configuration,
            shards: shards,
            control: control,
            logger: logger,
            now: started
        )
        // The first sockets and queue are open already: further threads open their own, by name.
        var firstSockets: PacketSockets? = consume sockets
        var firstTunnel = consume tunnel
        if shardCount > 1 { try firstSockets?.sharePorts() }
        let budget = LineBudget(LineLimits(configuration.line), shardCount: shardCount)
        for (index, wakeup) in wakeups.enumerated() {
            let sockets = try Self.sockets(firstSockets.take(), configuration)
            if shardCount > 1, index == shardCount - 1 { try sockets.steer(count: shardCount) }
            let loop = RelayLoop(
                shard: RelayShard(
                    linkLimit: max(1, configuration.limits.links / shardCount),
                    circuitLimit: max(1, configuration.limits.circuits / shardCount),
                    position: ShardPosition(index: index, of: shardCount),
                    limits: LineLimits(configuration.line).ofShard(of: shardCount),
                    budget: budget,
                    exit: exit,
                    random: try RandomGenerator.seeded(),
                    now: started
                ),
                sockets: sockets,
                tunnel: exit == nil ? nil : try Self.tunnel(firstTunnel.take(), configuration),
                mailbox: shards[index],
                wakeup: wakeup,
                shards: shards,
                deliver: { events in control.deliver(events, from: index) }
            )
            _ = try LoopThread.start(name: "umbel-packets", owning: loop) { loop in
                do throws(IOError) {
                    try loop.run()
                } catch {
                    failed.yield("\(error)")
                }
            }
        }
        let pool = try WorkerPool<RelayJob>(name: "umbel", count: 2) { job in
            control.insist(.outcome(job.run()))
        }
        let ring = try Self.ring(configuration, network, keys)
        let memory = ReplayFile(stateFolder: configuration.stateFolder)
        // One process, one connection: the command line never opens it.
        let vouchers = try RecordStore(path: "\(configuration.stateFolder)/vouchers.sqlite")
        let book = try VoucherBook(try vouchers.records())
        let payments = try RelayPayments(vouchers, logger: logger) { control.insist(.payments($0)) }
        var core = RelayControl(
            identity: RelayControl.Identity(
                network: root.network,
                signingKey: keys.identity,
                circuitKeys: ring?.keys ?? [keys.circuit]
            ),
            families: RelayControl.Families(
                v4: configuration.listenAddresses.contains { $0.ip.isV4 },
                v6: configuration.listenAddresses.contains { !$0.ip.isV4 }
            ),
            shardCount: shardCount,
            exit: exit,
            memory: try memory.take(),
            book: book,
            now: started,
            wall: WallClock.now(),
            random: try RandomGenerator.seeded()
        )
        core.setAuthorities(
            Dictionary(
                root.authorities.map { ($0.index, $0.key) },
                uniquingKeysWith: { first, _ in first }
            )
        )
        let plane = RelayControlLoop(
            control: core,
            memory: memory,
            pool: pool,
            mailbox: control,
            wakeup: controlWakeup,
            shards: shards,
            payments: payments,
            keyLog: keyLog,
            logger: logger
        )
        directory = RelayDirectory(
            configuration,
            network: network,
            root: root,
            identity: keys.identity,
            ring: ring,
            control: control,
            logger: logger
        )
        _ = try LoopThread.start(name: "umbel-control", owning: plane) { plane in
            do throws(IOError) {
                try plane.run()
            } catch {
                failed.yield("\(error)")
            }
        }
    }

    /// The sockets opened first, or those of a further packet thread.
    private static func sockets(
        _ first: consuming PacketSockets?,
        _ configuration: RelayConfiguration
    ) throws(IOError) -> PacketSockets {
        switch consume first {
        case .some(let sockets): return sockets
        case .none:
            var options = UDPOptions()
            options.reusesPort = true
            return try PacketSockets(configuration.listenAddresses, options: options)
        }
    }

    /// The queue of the TUN device opened first, or that of a further packet thread.
    private static func tunnel(
        _ first: consuming TunnelPort?,
        _ configuration: RelayConfiguration
    ) throws(IOError) -> TunnelPort {
        switch consume first {
        case .some(let port): return port
        case .none: return try TunnelPort(name: configuration.exit.interface, isShared: true)
        }
    }

    /// The circuit keys of a relay whose network has authorities to tell of new ones.
    private static func ring(
        _ configuration: RelayConfiguration,
        _ network: NetworkConfiguration,
        _ keys: RelayKeys
    ) throws -> CircuitKeyRing? {
        guard network.hasAddresses else { return nil }
        var ring = try CircuitKeyRing(
            folder: configuration.stateFolder,
            identity: keys.identity.publicKey
        )
        do {
            _ = try ring.turn(
                at: WallClock.now().minute,
                periodSeconds: NetworkParameters.production.circuitKeySeconds
            )
        } catch let error as ConfigurationError {
            // Its files were read: a key that cannot be written is no mistake of the operator's file.
            guard let problem = error.problems.first else { throw error }
            throw Failure(
                problem.what,
                why: problem.why,
                hint: problem.hint,
                exit: .unavailable
            )
        }
        return ring
    }

    /// Waits for circuits to end, ends the threads and takes the firewall away.
    public func stop() async {
        await directory.stop()
        await keeper.stop()
        let _: Bool? = await withCheckedContinuation { continuation in
            let once = Once(continuation)
            control.insist(.stop { once.resume(true) })
        }
        for shard in shards { shard.insist(.stop) }
        await resolver?.stop()
        guard let firewall else { return }
        do throws(HostNetworkError) {
            try await firewall.remove()
        } catch {
            // The next start removes what is left by name.
        }
    }

    /// Tells the directory of itself, and whoever watches of what it counts.
    private func begin() async throws {
        await directory.begin()
        await keeper.begin { [directory, version, resolver, weak self] metrics in
            metrics.version = version
            metrics.resolver = resolver?.state
            metrics.exitFlows = KeptConnections.count()
            let (report, listing) = await directory.reports()
            metrics.clockOffsetSeconds = listing?.clockOffsetSeconds
            if let report, report.validAfter > 0 {
                let now = WallClock.now().seconds
                metrics.directory = (now - min(now, report.validAfter), report.signers.count)
            }
            if let earned = try? await self?.earnings() {
                metrics.ticks = (earned.served, earned.deposited, earned.credited, earned.expired)
            }
        }
        if let address = configuration.metrics.listenAddress {
            try await serveMetrics(on: address, logger: logger)
        }
    }

    /// Returns when a thread has failed, and says why.
    public func failure() async -> String? {
        for await failure in failures { return failure }
        return nil
    }

    /// The state right now.
    public func status() async -> RelayStatusReport {
        let readings = await RelayReadings.take(shards: shards, control: control)
        let (report, counts) = (readings?.shards, readings?.control)
        var drops: [String: UInt64] = [:]
        for (name, count) in zip(Self.linkDropNames, report?.linkDrops ?? []) {
            drops["link_\(name)"] = count
        }
        for (name, count) in zip(Self.cellDropNames, report?.counters.drops ?? []) {
            drops["cell_\(name)"] = count
        }
        drops["unknown_circuit"] = report?.counters.unknownCircuit
        drops["overflow"] = report?.counters.overflow
        drops["shed"] = report?.counters.shedCells
        drops["unkept"] = report?.counters.unkeptCells
        drops["expired"] = report?.counters.lateCells
        drops["unpaid"] = report?.counters.unpaidCells
        drops["policy"] = report?.counters.policyRefused
        drops["replayed_create"] = counts?.counters.replayedCreates
        let (network, listing) = await directory.reports()
        return RelayStatusReport(
            nickname: configuration.nickname,
            identity: identity.rawValue.hex,
            uptimeSeconds: (MonotonicClock.now() - started).nanoseconds / 1_000_000_000,
            links: counts?.links ?? 0,
            circuits: report?.circuits ?? 0,
            cellsForward: report?.counters.forwardCells ?? 0,
            cellsBackward: report?.counters.backwardCells ?? 0,
            drops: drops,
            exitLeases: configuration.exit.isEnabled ? counts?.leases : nil,
            resolver: resolver?.report,
            line: await keeper.report(),
            directory: network,
            listing: listing
        )
    }

    private static let linkDropNames = [
        "size", "unknown_session", "replayed", "forged", "malformed",
    ]
    private static let cellDropNames = [
        "replayed", "forged", "malformed", "early_refused", "no_next_hop", "queue_full",
    ]
}
