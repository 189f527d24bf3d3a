import Base
import ControlAPI
import CryptoPrimitives
import Directory
import DirectoryHTTP
import EventLoop
import Logging
import NodeConfiguration
import Wire

/// A relay's side of the directory: fetches and hands it on, registers, and turns circuit keys.
actor RelayDirectory {
    private static let keyLook: Duration = .seconds(5)

    private let configuration: RelayConfiguration
    private let network: NetworkConfiguration
    private let root: TrustRoot
    private let identity: Ed25519.SigningKey
    private let control: Mailbox<RelayControlMessage>
    private let logger: Logger
    private let keeper: DirectoryKeeper
    private let registrar: RelayRegistrar?
    private let news: AsyncStream<DirectoryNews>
    private var ring: CircuitKeyRing?
    private var periodSeconds = NetworkParameters.production.circuitKeySeconds
    private var tasks: [Task<Void, Never>] = []

    /// Makes the directory side of a relay that posts what changes to `control`.
    ///
    /// - Parameter ring: its circuit keys; `nil` where the network's directory is signed by hand.
    init(
        _ configuration: RelayConfiguration,
        network: NetworkConfiguration,
        root: TrustRoot,
        identity: Ed25519.SigningKey,
        ring: CircuitKeyRing?,
        control: Mailbox<RelayControlMessage>,
        logger: Logger
    ) {
        self.configuration = configuration
        self.network = network
        self.root = root
        self.identity = identity
        self.ring = ring
        self.control = control
        self.logger = logger
        let (news, tell) = AsyncStream.makeStream(of: DirectoryNews.self)
        self.news = news
        keeper = DirectoryKeeper(
            DirectoryKeeper.Settings(
                network: network,
                file: configuration.directory.consensus,
                stateFolder: configuration.stateFolder,
                isClient: false
            ),
            root: root,
            logger: logger
        ) { tell.yield($0) }
        registrar = ring?.newest.map { key in
            RelayRegistrar(
                configuration,
                network: network,
                identity: identity,
                circuitKey: key,
                logger: logger
            )
        }
    }

    /// Begins all it does.
    func begin() {
        let (keeper, registrar) = (keeper, registrar)
        tasks.append(Task { await keeper.run() })
        tasks.append(Task { await self.follow() })
        guard let registrar else { return }
        let limits = DirectoryLimits(bodyByteCounts: [
            .proof: DirectoryKeeper.acceptedProofByteCount
        ])
        tasks.append(
            Task { [addresses = configuration.listenAddresses, logger] in
                // Authorities test the port of a relay that registers: it answers before.
                await DirectoryServer.serve(keeper, on: addresses, limits: limits, logger: logger) {
                    // Others hand it out; forwarding cells is what counts.
                    logger.error("no directory is handed out here: \($0)")
                }
                await registrar.run()
            }
        )
        tasks.append(
            Task {
                while !Task.isCancelled {
                    await self.turnKeys()
                    try? await Task.sleep(for: Self.keyLook)
                }
            }
        )
    }

    /// Ends it.
    func stop() {
        for task in tasks { task.cancel() }
    }

    private func follow() async {
        for await item in news {
            switch item {
            case .view(let view, let shelf):
                periodSeconds = view.parameters.circuitKeySeconds
                _ = control.post(.directory(view, shelf))
                await registrar?.note(view)
            case .refused(let reason):
                logger.warning("consensus refused: \(reason)")
            case .alarm: break
            }
        }
    }

    /// Uses a new circuit key from now on, and announces it; those before it go on being answered.
    ///
    /// - Returns: until when it is good; `nil` where one was made in this minute, or the directory
    ///   is signed by hand.
    /// - Throws: where it cannot be made.
    func rotateKeys() async throws -> CircuitKey? {
        let minute = WallClock.now().minute
        guard try ring?.turnNow(at: minute, periodSeconds: periodSeconds) == true, let ring,
            let newest = ring.newest
        else { return nil }
        _ = control.post(.circuitKeys(ring.keys))
        logger.notice("a new circuit key, as asked, good until minute \(newest.expiryMinute)")
        await registrar?.announce(newest)
        return newest
    }

    private func turnKeys() async {
        do {
            let minute = WallClock.now().minute
            guard try ring?.turn(at: minute, periodSeconds: periodSeconds) == true,
                let ring, let newest = ring.newest
            else { return }
            // Answered first, announced then: nobody uses a key that is not yet taken.
            _ = control.post(.circuitKeys(ring.keys))
            logger.notice("a new circuit key, good until minute \(newest.expiryMinute)")
            await registrar?.announce(newest)
        } catch {
            logger.error("no new circuit key can be made: \(error)")
        }
    }

    /// What it knows, for status.
    func reports() async -> (directory: DirectoryReport?, listing: ListingReport?) {
        let directory = await keeper.report()
        guard let registrar else { return (directory, nil) }
        let record = await registrar.record
        return (
            directory,
            ListingReport(
                isListed: record != nil,
                flags: record?.flags.names ?? [],
                weight: record?.weight ?? 0,
                authorities: await registrar.answers,
                clockOffsetSeconds: await registrar.clockOffsetSeconds
            )
        )
    }
}

extension DirectoryKeeper {
    /// What it knows, for status; `nil` before the first document.
    func report() -> DirectoryReport? {
        document.map { DirectoryReport($0, root: trustRoot, source: source, alarm: alarm) }
    }
}
