import Base
import ControlAPI
import Glibc
import HostNetwork
import NIOCore
import NIOPosix
import ProxyServer

/// The tunnels of a proxy: one for each pair of credentials, opened when it is first used.
actor ProxyNetworks {
    /// Tunnels at a time; a daemon has twice as many for all that ask it.
    static let limit = 16
    /// How long a tunnel is unused before another may take its place.
    private static let idleLimit = Duration.seconds(600)

    private struct Entry {
        var opening: Task<ProxyTunnel, any Error>
        var lastUse: ContinuousClock.Instant
    }

    private let client: ControlClient
    private let exit: [String]?
    private let traffic: TrafficChoice?
    private let resolution = NIOThreadPool(numberOfThreads: 8)
    private var entries: [ProxyCredentials?: Entry] = [:]

    /// Makes none yet; all are to leave the network in one of the countries `exit`.
    init(client: ControlClient, exit: [String]?, traffic: TrafficChoice?) {
        self.traffic = traffic
        self.client = client
        self.exit = exit
        resolution.start()
    }

    /// The tunnel of `credentials`, opened where it is not there, or no longer.
    ///
    /// - Throws: ``Failure`` where there can be none now.
    func open(for credentials: ProxyCredentials?) async throws -> ProxyTunnel {
        if let entry = entries[credentials] {
            entries[credentials]?.lastUse = .now
            do {
                let tunnel = try await entry.opening.value
                if await tunnel.isThere() { return tunnel }
                // The daemon was restarted. Whoever sees it first opens the tunnel again.
                if entries[credentials]?.opening == entry.opening {
                    return try await begin(credentials) { try await tunnel.openOrClose() }
                }
            } catch {
                if entries[credentials]?.opening == entry.opening { throw error }
            }
            guard let other = entries[credentials] else { throw Self.full }
            return try await other.opening.value
        }
        try await makeRoom()
        let (client, exit, traffic, resolution) = (client, exit, traffic, resolution)
        return try await begin(credentials) {
            try await ProxyTunnel(
                client: client,
                exit: exit,
                traffic: traffic,
                resolution: resolution
            )
            .openOrClose()
        }
    }

    /// Gives all tunnels back.
    func close() async {
        let all = entries.values
        entries = [:]
        for entry in all { try? await entry.opening.value.close() }
    }

    private func begin(
        _ credentials: ProxyCredentials?,
        _ body: @escaping @Sendable () async throws -> ProxyTunnel
    ) async throws -> ProxyTunnel {
        let opening = Task { try await body() }
        entries[credentials] = Entry(opening: opening, lastUse: .now)
        do {
            return try await opening.value
        } catch {
            // The next one tries anew.
            if entries[credentials]?.opening == opening { entries[credentials] = nil }
            throw error
        }
    }

    private func makeRoom() async throws {
        guard entries.count >= Self.limit else { return }
        let oldest = entries.min { $0.value.lastUse < $1.value.lastUse }
        guard let oldest, oldest.value.lastUse + Self.idleLimit < .now else { throw Self.full }
        entries[oldest.key] = nil
        try? await oldest.value.opening.value.close()
    }

    private static var full: Failure {
        Failure(
            "there can be no further tunnel",
            why: "\(limit) pairs of credentials are in use",
            hint: "use fewer, or wait ten minutes",
            exit: .temporary
        )
    }
}

/// A network namespace with one tunnel, and the thread that makes sockets in it.
actor ProxyTunnel: ProxyNetwork {
    nonisolated let eventLoop: any EventLoop
    private let group: MultiThreadedEventLoopGroup
    private let network: ThreadNetwork
    private let client: ControlClient
    private let exit: [String]?
    private let traffic: TrafficChoice?
    private let resolution: NIOThreadPool
    private var grant: TunnelGrant?

    /// Makes the namespace, without a tunnel.
    ///
    /// - Throws: ``Failure`` where the kernel does not grant it.
    init(
        client: ControlClient,
        exit: [String]?,
        traffic: TrafficChoice?,
        resolution: NIOThreadPool
    ) async throws {
        self.traffic = traffic
        self.client = client
        self.exit = exit
        self.resolution = resolution
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        eventLoop = group.next()
        do {
            network = try await eventLoop.submit { try ThreadNetwork() }.get()
        } catch let error as IsolationError {
            throw RunCommand.failure(error)
        }
    }

    /// Asks the daemon for a tunnel, and sets its interface up; ends the thread where that fails.
    ///
    /// - Throws: ``Failure``.
    func openOrClose() async throws -> ProxyTunnel {
        do {
            return try await open()
        } catch {
            await close()
            throw error
        }
    }

    private func open() async throws -> ProxyTunnel {
        let device = try await device()
        // The daemon has a descriptor of its own by then, and with it the interface ends.
        defer { if let device { Glibc.close(device) } }
        let grant = try await client.openTunnel(
            TunnelRequest(
                pid: getpid(),
                thread: network.thread,
                exit: exit,
                traffic: traffic,
                device: device
            )
        )
        self.grant = grant
        guard let interface = IsolatedProcess.Interface(grant) else {
            throw RunCommand.misunderstood
        }
        do {
            try await eventLoop.submit { try ThreadNetwork.setUp(interface) }.get()
        } catch let error as IsolationError {
            throw RunCommand.failure(error)
        }
        return self
    }

    /// A TUN device in the namespace, for a daemon that cannot put one there; `nil` for one that can.
    private func device() async throws -> Int32? {
        guard try await client.node().rootless == true else { return nil }
        do {
            return try await eventLoop.submit { try ThreadNetwork.makeDevice() }.get()
        } catch let error as IsolationError {
            throw RunCommand.failure(error)
        }
    }

    /// Whether the interface is there: it goes with the daemon.
    func isThere() async -> Bool {
        guard let name = grant?.interface else { return false }
        let answer = try? await eventLoop.submit { ThreadNetwork.hasInterface(name) }.get()
        return answer ?? false
    }

    /// Gives the tunnel back, and ends the thread.
    func close() async {
        if let grant { try? await client.closeTunnel(grant.id) }
        grant = nil
        try? await group.shutdownGracefully()
    }

    nonisolated func addresses(of name: String) async -> [IPAddress] {
        let network = network
        let found = try? await resolution.runIfActive {
            try network.enter()
            return HostNames.resolve(name)
        }
        return found ?? []
    }
}
