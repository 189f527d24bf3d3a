import HostNetwork
import NodeConfiguration

/// The kernel's part of `umbel up`: lock, routes and resolver of the whole machine.
///
/// Taken over in this order and given back in the reverse one, so that nothing is let out in
/// between. All of it outlives the daemon; whichever runs later can give it back. One change is
/// through before the next begins, and runs to its end whatever becomes of who asked for it.
actor MachineNetwork {
    /// What a look at the kernel found.
    enum Finding: Hashable, Sendable {
        /// All is as it was left.
        case intact
        /// Somebody had changed this, and it is as it should be again.
        case mended(String)
    }

    private let lock: ClientLock
    private let routing: ClientRouting
    private let resolver: ResolverFile
    private let runner = CommandRunner()
    /// The lock's rules as the kernel lists them; `nil` while this daemon has not locked.
    private var standing: String?
    private var last: Task<Void, Never>?

    /// The machine as `configuration` wants it.
    init(_ configuration: ClientConfiguration) {
        lock = ClientLock(tunnel: configuration.tunnel.name)
        routing = ClientRouting(
            tunnel: configuration.tunnel.name,
            mtu: configuration.tunnel.mtu,
            stateFolder: configuration.stateFolder
        )
        resolver = ResolverFile(stateFolder: configuration.stateFolder)
    }

    /// Whether a lock stands, of this daemon or of one before it; no if nft cannot tell.
    func isLocked() async -> Bool {
        do throws(HostNetworkError) {
            return try await ClientLock.table.listing(with: runner) != nil
        } catch {
            return false
        }
    }

    /// Locks the machine and leads it into the tunnel's interface, which must exist.
    ///
    /// - Throws: ``HostNetworkError``; what was done until then stays.
    func take() async throws(HostNetworkError) {
        try await inTurn { () throws(HostNetworkError) in try await self.takeNow() }
    }

    /// Gives the machine back as it was before ``take()``, also that of an earlier daemon.
    ///
    /// - Throws: ``HostNetworkError``; the lock then stands.
    func release() async throws(HostNetworkError) {
        try await inTurn { () throws(HostNetworkError) in try await self.releaseNow() }
    }

    /// Looks whether others changed the rules since ``take()``, and puts them back.
    ///
    /// - Throws: ``HostNetworkError`` where they cannot be put back.
    func mend() async throws(HostNetworkError) -> Finding {
        try await inTurn { () throws(HostNetworkError) in try await self.mendNow() }
    }

    private func takeNow() async throws(HostNetworkError) {
        try await lock.apply(with: runner)
        standing = try await ClientLock.table.listing(with: runner)
        try await routing.apply()
        try resolver.apply()
    }

    private func releaseNow() async throws(HostNetworkError) {
        standing = nil
        try resolver.restore()
        try await routing.remove()
        try await ClientLock.remove(with: runner)
    }

    private func mendNow() async throws(HostNetworkError) -> Finding {
        guard let standing else { return .intact }
        if try await ClientLock.table.listing(with: runner) != standing {
            try await lock.apply(with: runner)
            self.standing = try await ClientLock.table.listing(with: runner)
            return .mended("the firewall's rules")
        }
        guard try await !routing.isInPlace() else { return .intact }
        try await routing.apply()
        return .mended("the routes")
    }

    private func inTurn<Value: Sendable>(
        _ change: @escaping @Sendable () async throws(HostNetworkError) -> Value
    ) async throws(HostNetworkError) -> Value {
        let before = last
        let task = Task { () -> Result<Value, HostNetworkError> in
            await before?.value
            do throws(HostNetworkError) {
                return .success(try await change())
            } catch {
                return .failure(error)
            }
        }
        last = Task { _ = await task.value }
        return try await task.value.get()
    }
}
