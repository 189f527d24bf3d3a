public import HostNetwork
public import NodeConfiguration

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
    private let resolver: MachineResolver
    private let lockdown: Lockdown
    private let runner = CommandRunner()
    /// The lock's rules as the kernel lists them; `nil` while this daemon holds no lock.
    private var standing: String?
    /// Whether this daemon leads the machine into the tunnel, and not only locks it.
    private var isRouted = false
    private var last: Task<Void, Never>?

    /// The machine as `configuration` wants it.
    init(_ configuration: ClientConfiguration) {
        var lock = ClientLock(tunnel: configuration.tunnel.name)
        lock.allowsLocalNetwork = configuration.split.allowsLocalNetwork
        self.lock = lock
        var routing = ClientRouting(
            tunnel: configuration.tunnel.name,
            mtu: configuration.tunnel.mtu,
            stateFolder: configuration.stateFolder
        )
        routing.allowsLocalNetwork = configuration.split.allowsLocalNetwork
        self.routing = routing
        resolver = MachineResolver(
            stateFolder: configuration.stateFolder,
            tunnel: configuration.tunnel.name
        )
        lockdown = Lockdown(stateFolder: configuration.stateFolder)
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

    /// Gives the machine back as it was before ``take()``, also that of an earlier daemon; where
    /// lockdown is on, it stays locked.
    ///
    /// - Throws: ``HostNetworkError``; the lock then stands.
    func release() async throws(HostNetworkError) {
        try await inTurn { () throws(HostNetworkError) in try await self.releaseNow() }
    }

    /// Locks the machine, in place of the lock of an earlier daemon, and leads it nowhere.
    ///
    /// - Throws: ``HostNetworkError``; an earlier lock then still stands.
    func hold() async throws(HostNetworkError) {
        try await inTurn { () throws(HostNetworkError) in try await self.holdNow() }
    }

    /// Whether the machine stays locked while nobody wants a tunnel.
    nonisolated var isLockdownOn: Bool { lockdown.isOn }

    /// Turns lockdown on, or off; off leaves a lock that stands alone, as ``release()`` ends it.
    ///
    /// - Throws: ``HostNetworkError``; what is remembered then is as it was.
    nonisolated func setLockdown(_ isOn: Bool) throws(HostNetworkError) {
        try lockdown.set(isOn)
    }

    /// Lets one user's web traffic by for some time, in place of an earlier window.
    ///
    /// - Throws: ``HostNetworkError``; then nothing has changed.
    func openWindow(user: UInt32, seconds: Int) async throws(HostNetworkError) {
        try await inTurn { () throws(HostNetworkError) in
            try await self.openWindowNow(user: user, seconds: seconds)
        }
    }

    /// Closes that window before its time.
    ///
    /// - Throws: ``HostNetworkError`` where nft fails.
    func closeWindow() async throws(HostNetworkError) {
        try await inTurn { () throws(HostNetworkError) in
            try await LoginWindow.close(with: self.runner)
        }
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
        try await resolver.apply()
        isRouted = true
    }

    private func holdNow() async throws(HostNetworkError) {
        try await lock.apply(with: runner)
        standing = try await ClientLock.table.listing(with: runner)
    }

    private func openWindowNow(user: UInt32, seconds: Int) async throws(HostNetworkError) {
        var servers = resolver.servers()
        // A network that wants a login answers for names itself.
        if servers.isEmpty { servers = try await routing.gateways() }
        let window = LoginWindow(
            tunnel: lock.tunnel,
            user: user,
            seconds: seconds,
            resolvers: servers
        )
        try await window.open(with: runner)
    }

    private func releaseNow() async throws(HostNetworkError) {
        isRouted = false
        try await resolver.restore()
        try await routing.remove()
        try await LoginWindow.close(with: runner)
        guard !lockdown.isOn else { return try await holdNow() }
        standing = nil
        try await ClientLock.remove(with: runner)
    }

    private func mendNow() async throws(HostNetworkError) -> Finding {
        guard let standing else { return .intact }
        if try await ClientLock.table.listing(with: runner) != standing {
            try await lock.apply(with: runner)
            self.standing = try await ClientLock.table.listing(with: runner)
            return .mended("the firewall's rules")
        }
        guard isRouted else { return .intact }
        if try await !routing.isInPlace() {
            try await routing.apply()
            return .mended("the routes")
        }
        guard !resolver.isInPlace() else { return .intact }
        try await resolver.apply()
        return .mended("the resolver's file")
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

/// The lock at the start of the machine, before there is a network or a daemon.
public enum BootLock {
    /// Locks the machine where lockdown is on; says whether it is.
    ///
    /// - Throws: ``HostNetworkError`` where the kernel does not take the lock.
    public static func apply(
        _ configuration: ClientConfiguration
    ) async throws(HostNetworkError) -> Bool {
        let network = MachineNetwork(configuration)
        guard network.isLockdownOn else { return false }
        try await network.hold()
        return true
    }
}
