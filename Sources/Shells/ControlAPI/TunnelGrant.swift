/// Names a tunnel for as long as the daemon runs.
public struct TunnelID: RawRepresentable, Codable, Hashable, Sendable {
    /// The number in paths and reports.
    public var rawValue: UInt64

    /// Makes the identifier of this number.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

/// Asks for the machine's traffic to be connected: `POST /v1/up`.
public struct UpRequest: Codable, Hashable, Sendable {
    /// Countries to leave the network in, two letters each; `nil` for what the configuration says,
    /// empty for any.
    public var exit: [String]?
    /// What the traffic is to look like; `nil` for what the configuration says.
    public var traffic: TrafficChoice?

    /// Makes a request for this exit.
    public init(exit: [String]? = nil, traffic: TrafficChoice? = nil) {
        self.exit = exit
        self.traffic = traffic
    }
}

/// Asks for a tunnel of its own for one process: `POST /v1/tunnels`.
public struct TunnelRequest: Codable, Hashable, Sendable {
    /// The process; the tunnel's interface is put into its network namespace.
    public var pid: Int32
    /// The thread of that process whose namespace is meant; `nil` for the process's own.
    public var thread: Int32?
    /// Countries to leave the network in, two letters each; `nil` for what the configuration says,
    /// empty for any.
    public var exit: [String]?
    /// What the traffic is to look like; `nil` for what the configuration says.
    public var traffic: TrafficChoice?
    /// The descriptor, in that process, of a TUN device in its network namespace; for a daemon
    /// without rights over networks, which cannot put one there.
    public var device: Int32?

    /// Makes a request from its parts.
    public init(
        pid: Int32,
        thread: Int32? = nil,
        exit: [String]? = nil,
        traffic: TrafficChoice? = nil,
        device: Int32? = nil
    ) {
        self.pid = pid
        self.thread = thread
        self.device = device
        self.exit = exit
        self.traffic = traffic
    }
}

/// A tunnel the daemon has opened: its interface is in the process's namespace, not yet configured.
public struct TunnelGrant: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Names the tunnel in requests.
    public var id: TunnelID
    /// The interface's name within the namespace.
    public var interface: String
    /// The interface's IPv4 address.
    public var ipv4: String
    /// The interface's IPv6 address.
    public var ipv6: String
    /// Addresses of the resolver inside the tunnel.
    public var resolvers: [String]
    /// Largest IP packet the tunnel takes, in bytes.
    public var mtu: Int

    /// Makes a grant in the current schema.
    public init(
        id: TunnelID,
        interface: String,
        ipv4: String,
        ipv6: String,
        resolvers: [String],
        mtu: Int
    ) {
        schema = reportSchema
        self.id = id
        self.interface = interface
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.resolvers = resolvers
        self.mtu = mtu
    }
}
