import Base
import Circuits
import ControlAPI
import Directory
import DirectoryHTTP
import EventLoop
import HostNetwork
import Logging
import NodeConfiguration
import Synchronization
import Wire

/// A client's side of the directory: fetches it, over circuits once there are some, and compares
/// what relays say of it.
final class ClientDirectory: Sendable {
    private let control: Mailbox<ClientControlMessage>
    private let keeper: DirectoryKeeper
    private let news: AsyncStream<DirectoryNews>
    private let logger: Logger
    private let tasks = Mutex<[Task<Void, Never>]>([])

    /// Makes the directory side of a client that posts what changes to `control`.
    init(
        _ configuration: ClientConfiguration,
        network: NetworkConfiguration,
        root: TrustRoot,
        control: Mailbox<ClientControlMessage>,
        logger: Logger
    ) {
        self.control = control
        self.logger = logger
        let (news, tell) = AsyncStream.makeStream(of: DirectoryNews.self)
        self.news = news
        keeper = DirectoryKeeper(
            DirectoryKeeper.Settings(
                network: network,
                file: configuration.directory.consensus,
                stateFolder: configuration.stateFolder,
                isClient: true,
                mark: ProcessRights.mark
            ),
            root: root,
            logger: logger
        ) { tell.yield($0) }
    }

    /// Begins to fetch.
    func begin() async {
        let control = control
        await keeper.use { await Self.fetch($0, at: nil, by: control) }
        let (keeper, news, logger) = (keeper, news, logger)
        let keeping = Task { await keeper.run() }
        let following = Task {
            for await item in news {
                switch item {
                case .view(let view, _): _ = control.post(.view(view))
                case .refused(let reason):
                    logger.warning("consensus refused: \(reason)")
                    _ = control.post(.noView(reason))
                case .alarm: break
                }
            }
        }
        tasks.withLock { $0 = [keeping, following] }
    }

    /// Ends it.
    func stop() {
        tasks.withLock { tasks in
            for task in tasks { task.cancel() }
        }
    }

    private static func fetch(
        _ request: DirectoryRequest,
        at place: (circuit: CircuitID, hop: HopIndex)?,
        by control: Mailbox<ClientControlMessage>
    ) async -> DirectoryFetched {
        await withCheckedContinuation { continuation in
            let once = Once<DirectoryFetched>(continuation)
            let errand = DirectoryErrand(place: place, request: request) { once.resume($0) }
            if !control.post(.fetch(errand)) { once.resume(.silent) }
        } ?? .silent
    }

    /// Compares what a relay of a circuit says of its newest document with the one at hand.
    func compare(
        _ said: ServerMessage,
        of relay: RelayRecord,
        at place: (circuit: CircuitID, hop: HopIndex)
    ) {
        let (keeper, control) = (keeper, control)
        Task {
            let isTrue = await keeper.compare(
                validAfter: WallTime(seconds: UInt64(said.consensusValidAfter)),
                digestPrefix: said.consensusDigest,
                relay: relay.nickname
            ) { await Self.fetch($0, at: place, by: control) }
            if !isTrue { _ = control.post(.avoid(relay.id)) }
        }
    }

    /// The document at hand; `nil` before the first.
    func document() async -> ConsensusDocument? {
        await keeper.document
    }

    /// What it knows, for status.
    func report() async -> DirectoryReport? {
        await keeper.report()
    }

    /// Countries exits stand in; empty before there is a directory, and where none is known.
    func exitCountries() async -> Set<CountryCode> {
        let relays = await keeper.document?.consensus.relays ?? []
        return Set(relays.filter { $0.flags.contains(.exit) }.compactMap(\.country))
    }

    /// The exits that stand in one of `countries`, or anywhere where there is none, the heaviest
    /// first.
    func exits(in countries: [String]) async -> [NodeID] {
        let wanted = Set(countries.compactMap { CountryCode($0) })
        let relays = await keeper.document?.consensus.relays ?? []
        return relays.filter { relay in
            relay.flags.contains(.exit)
                && (wanted.isEmpty || relay.country.map { wanted.contains($0) } ?? false)
        }
        .sorted { ($1.weight, $0.id) < ($0.weight, $1.id) }
        .map(\.id)
    }

    /// The relays of the network, the heaviest first.
    func relays(_ snapshot: ClientSnapshot?) async -> RelayListReport {
        let relays = await keeper.document?.consensus.relays ?? []
        return RelayListReport(
            relays: relays.sorted { ($1.weight, $0.id) < ($0.weight, $1.id) }.map { relay in
                RelayListReport.Relay(
                    nickname: relay.nickname,
                    id: relay.id.rawValue.hex,
                    country: relay.country.map { "\($0)" } ?? "??",
                    flags: relay.flags.names,
                    addresses: relay.addresses.all.map { "\($0)" },
                    weight: relay.weight,
                    family: relay.family.map { "\($0)" } ?? "",
                    autonomousSystem: relay.autonomousSystem == 0
                        ? nil : relay.autonomousSystem,
                    roundTripMilliseconds: snapshot?.exitTrips[relay.id]?.milliseconds,
                    buildMilliseconds: snapshot?.exitBuilds[relay.id]?.milliseconds
                )
            }
        )
    }
}
