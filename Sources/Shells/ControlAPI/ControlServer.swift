import FoundationEssentials
import Glibc
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore

/// Serves a node's control API on a Unix socket that only its owner and one group may use.
public struct ControlServer: Sendable {
    /// Connections served at one time; further ones wait.
    static let connectionLimit = 64

    private let path: String
    private let group: String?
    private let node: NodeReport
    private let logger: Logger

    /// Makes a server that is not yet running.
    ///
    /// - Parameters:
    ///   - path: the socket's path; its folder is made if only it is missing.
    ///   - group: the group admitted besides the owner, which must exist; `nil` for the group
    ///     `umbel` where the system has one and this process may give it something.
    ///   - node: what the node says of itself.
    public init(path: String, group: String?, node: NodeReport, logger: Logger) {
        self.path = path
        self.group = group
        self.node = node
        self.logger = logger
    }

    /// Fails as ``serve(_:onReady:)`` would where another node serves at the path.
    ///
    /// To be asked before a node touches its state, which the other one holds.
    /// - Throws: ``Failure``.
    public func requireFree() throws(Failure) {
        _ = try SocketClaim(path: path)
    }

    /// Serves a client, with its wallet, what it protects and a view into its circuits where these are
    /// given, until the task is cancelled.
    ///
    /// - Parameter onReady: called once, when the socket takes connections.
    /// - Throws: ``Failure`` where another node holds the socket or it cannot be made.
    public func serve<Client: ClientService>(
        _ service: Client,
        wallet: (any WalletService)? = nil,
        protection: (any ProtectionService)? = nil,
        circuits: (any CircuitService)? = nil,
        onReady: @escaping @Sendable () async -> Void = {}
    ) async throws {
        try await run(onReady: onReady) { router in
            ControlRoutes.add(service, to: router)
            if let wallet { ControlRoutes.add(wallet: wallet, to: router) }
            if let protection { ControlRoutes.add(protection: protection, to: router) }
            if let circuits { ControlRoutes.add(circuits: circuits, to: router) }
        }
    }

    /// Serves `service` until the task is cancelled.
    ///
    /// - Parameter onReady: called once, when the socket takes connections.
    /// - Throws: ``Failure`` where another node holds the socket or it cannot be made.
    public func serve(
        _ service: some RelayService,
        onReady: @escaping @Sendable () async -> Void = {}
    ) async throws {
        try await run(onReady: onReady) { ControlRoutes.add(service, to: $0) }
    }

    /// Serves `service` until the task is cancelled.
    ///
    /// - Parameter onReady: called once, when the socket takes connections.
    /// - Throws: ``Failure`` where another node holds the socket or it cannot be made.
    public func serve(
        _ service: some AuthorityService,
        onReady: @escaping @Sendable () async -> Void = {}
    ) async throws {
        try await run(onReady: onReady) { ControlRoutes.add(service, to: $0) }
    }

    /// Serves a mint until the task is cancelled.
    ///
    /// - Parameter onReady: called once, when the socket takes connections.
    /// - Throws: ``Failure`` where another node holds the socket or it cannot be made.
    public func serve(
        _ service: some MintService,
        onReady: @escaping @Sendable () async -> Void = {}
    ) async throws {
        try await run(onReady: onReady) { ControlRoutes.add(service, to: $0) }
    }

    /// Serves a relay that earns until the task is cancelled.
    ///
    /// - Parameter onReady: called once, when the socket takes connections.
    /// - Throws: ``Failure`` where another node holds the socket or it cannot be made.
    public func serve(
        _ service: some RelayService,
        earnings: some EarningsService,
        onReady: @escaping @Sendable () async -> Void = {}
    ) async throws {
        try await run(onReady: onReady) { router in
            ControlRoutes.add(service, to: router)
            ControlRoutes.add(earnings: earnings, to: router)
        }
    }

    private func run(
        onReady: @escaping @Sendable () async -> Void,
        addRoutes: (Router<ControlContext>) -> Void
    ) async throws {
        let groupID = try admittedGroup()
        let claim = try SocketClaim(path: path)
        let router = ControlRoutes.router(node: node, group: groupID)
        addRoutes(router)
        let (problems, noted) = AsyncStream.makeStream(of: Failure.self)
        let application = Application(
            router: router,
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: path),
                availableConnectionsDelegate: MaximumAvailableConnections(Self.connectionLimit)
            ),
            onServerRunning: { channel in
                do throws(Failure) {
                    try restrict(toGroup: groupID)
                    await onReady()
                } catch {
                    noted.yield(error)
                    channel.close(promise: nil)
                }
            },
            logger: ServerLog.of(logger)
        )
        do {
            try await application.run()
        } catch is CancellationError {
            // Stopped as asked.
        }
        noted.finish()
        for await problem in problems { throw problem }
        _ = consume claim
    }

    /// Gives the socket to its group, and takes it from everybody else.
    private func restrict(toGroup group: UInt32?) throws(Failure) {
        let isOurs = group.map { unsafe chown(path, uid_t.max, $0) == 0 } ?? true
        // Without a group of its own the file has its owner's, whoever else that one holds.
        guard isOurs, unsafe chmod(path, group == nil ? 0o600 : 0o660) == 0 else {
            throw Failure(
                "cannot restrict the socket \(path)",
                why: unsafe String(cString: strerror(errno)),
                hint: "run as root or as a member of the group in [control]",
                exit: .permission
            )
        }
    }

    private func admittedGroup() throws(Failure) -> UInt32? {
        let name = group ?? "umbel"
        if let id = Self.groupID(name), group != nil || Self.mayGive(to: id) { return id }
        guard group != nil else { return nil }
        throw Failure(
            "there is no group \(name)",
            why: "`group` in [control] names the group that may use the socket",
            hint: "groupadd --system \(name)",
            exit: .configuration
        )
    }

    /// Whether this process may give its files to the group `id`.
    private static func mayGive(to id: UInt32) -> Bool {
        if geteuid() == 0 || getegid() == id { return true }
        var groups = [gid_t](repeating: 0, count: 65_536)
        let count = unsafe getgroups(CInt(groups.count), &groups)
        return count > 0 && groups.prefix(Int(count)).contains(id)
    }

    private static func groupID(_ name: String) -> UInt32? {
        var entry = unsafe group_entry()
        var buffer = [CChar](repeating: 0, count: 16_384)
        var result: UnsafeMutablePointer<group_entry>?
        let status = unsafe getgrnam_r(name, &entry, &buffer, buffer.count, &result)
        guard status == 0, unsafe result != nil else { return nil }
        return unsafe entry.gr_gid
    }

    private typealias group_entry = Glibc.group
}
