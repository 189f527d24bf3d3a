/// The version of every report's layout: within one, no field changes or goes away.
public let reportSchema = 1

/// Where a client's tunnel stands.
///
/// Leads from `disconnected` to `connecting` to `connected`, by `disconnecting` back, and from
/// either of the last three to `blocked`, where traffic is held because there is no circuit.
public enum TunnelState: String, Codable, CaseIterable, Sendable {
    /// No circuit, and none wanted.
    case disconnected
    /// Circuits are being built.
    case connecting
    /// Traffic flows through a circuit.
    case connected
    /// Circuits are being closed.
    case disconnecting
    /// There is no circuit though one is wanted; traffic is held back, not let out in the clear.
    case blocked
}

/// The state of a client's daemon: `GET /v1/status`.
public struct StatusReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Where the tunnel stands.
    public var state: TunnelState
    /// Why it stands there, where that is not obvious.
    public var reason: String?
    /// How far the daemon has come while it is connecting.
    public var progress: Progress?
    /// The exit in use; `nil` unless connected.
    public var exit: Exit?
    /// When the state began, in seconds since 1970-01-01 UTC.
    public var since: UInt64
    /// Bytes of IP packets sent into tunnels.
    public var bytesSent: UInt64
    /// Bytes of IP packets that came out of tunnels.
    public var bytesReceived: UInt64
    /// The tunnels open now.
    public var tunnels: [Tunnel]
    /// What the daemon knows of its network; `nil` before the first document.
    public var directory: DirectoryReport?
    /// What the hops of circuits said of their directories and clocks; `nil` before the first.
    public var relays: Relays?
    /// Whether traffic stays blocked after `down`; `nil` where it does not.
    public var lockdown: Bool?
    /// When the window for a network's login page closes, in seconds since 1970-01-01 UTC; `nil`
    /// where none is open.
    public var loginUntil: UInt64?
    /// What is not as it should be, and what to do about it; `nil` where all is well.
    public var health: [HealthLine]?

    /// How far a connection attempt has come.
    public struct Progress: Codable, Hashable, Sendable {
        /// From 0 to 100.
        public var percent: Int
        /// The stage: conn, handshake, directory, keys, descriptors, enough, circuit or done.
        public var stage: String
        /// The stage in a few words.
        public var detail: String
        /// Milliseconds since the attempt began; `nil` where the node does not say.
        public var elapsed: UInt64?
        /// Milliseconds since it last came further.
        public var unchanged: UInt64?

        /// Makes a progress from its parts.
        public init(
            percent: Int,
            stage: String,
            detail: String,
            elapsed: UInt64? = nil,
            unchanged: UInt64? = nil
        ) {
            self.percent = percent
            self.stage = stage
            self.detail = detail
            self.elapsed = elapsed
            self.unchanged = unchanged
        }

        private enum CodingKeys: String, CodingKey {
            case percent, stage, detail
            case elapsed = "elapsed_ms"
            case unchanged = "unchanged_ms"
        }
    }

    /// Something that is not as it should be.
    public struct HealthLine: Codable, Hashable, Sendable {
        /// What it is about: lock, directory, clock, network, circuit or login.
        public var about: String
        /// What is wrong, in a sentence.
        public var problem: String
        /// What to do about it.
        public var fix: String

        /// Makes a line from its parts.
        public init(about: String, problem: String, fix: String) {
            self.about = about
            self.problem = problem
            self.fix = fix
        }
    }

    /// The relay where traffic leaves the network.
    public struct Exit: Codable, Hashable, Sendable {
        /// The relay's name.
        public var nickname: String
        /// The relay's identifier, 64 hexadecimal digits.
        public var id: String
        /// Its country, two letters.
        public var country: String

        /// Makes an exit from its parts.
        public init(nickname: String, id: String, country: String) {
            self.nickname = nickname
            self.id = id
            self.country = country
        }
    }

    /// What the hops of all circuits so far said of themselves, held against the client's own.
    public struct Relays: Codable, Hashable, Sendable {
        /// Hops that have the client's directory.
        public var sameDirectory: UInt64
        /// Hops that have an older one.
        public var olderDirectory: UInt64
        /// Hops that have a newer one.
        public var newerDirectory: UInt64
        /// Hops that have another one of the same time: somebody is deceived.
        public var conflictingDirectory: UInt64
        /// Hops that have none.
        public var noDirectory: UInt64
        /// Minutes by which relays' clocks are ahead of the client's.
        public var clockOffsetMinutes: Int

        /// Makes a report from its parts.
        public init(
            sameDirectory: UInt64,
            olderDirectory: UInt64,
            newerDirectory: UInt64,
            conflictingDirectory: UInt64,
            noDirectory: UInt64,
            clockOffsetMinutes: Int
        ) {
            self.sameDirectory = sameDirectory
            self.olderDirectory = olderDirectory
            self.newerDirectory = newerDirectory
            self.conflictingDirectory = conflictingDirectory
            self.noDirectory = noDirectory
            self.clockOffsetMinutes = clockOffsetMinutes
        }

        private enum CodingKeys: String, CodingKey {
            case sameDirectory = "directory_same"
            case olderDirectory = "directory_older"
            case newerDirectory = "directory_newer"
            case conflictingDirectory = "directory_conflicting"
            case noDirectory = "directory_none"
            case clockOffsetMinutes = "clock_offset_min"
        }
    }

    /// A tunnel somebody's packets go through.
    public struct Tunnel: Codable, Hashable, Sendable {
        /// Names the tunnel in requests.
        public var id: TunnelID
        /// The tunnel's network interface.
        public var interface: String
        /// The process it was opened for; `nil` for the machine's own tunnel.
        public var pid: Int32?
        /// What its traffic is to look like; `nil` where the daemon does not say.
        public var traffic: TrafficChoice?

        /// Makes a tunnel from its parts.
        public init(id: TunnelID, interface: String, pid: Int32?, traffic: TrafficChoice? = nil) {
            self.id = id
            self.interface = interface
            self.pid = pid
            self.traffic = traffic
        }
    }

    /// Makes a report in the current schema.
    public init(
        state: TunnelState,
        reason: String? = nil,
        progress: Progress? = nil,
        exit: Exit? = nil,
        since: UInt64,
        bytesSent: UInt64 = 0,
        bytesReceived: UInt64 = 0,
        tunnels: [Tunnel] = [],
        directory: DirectoryReport? = nil,
        relays: Relays? = nil
    ) {
        schema = reportSchema
        self.state = state
        self.reason = reason
        self.progress = progress
        self.exit = exit
        self.since = since
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.tunnels = tunnels
        self.directory = directory
        self.relays = relays
    }

    private enum CodingKeys: String, CodingKey {
        case schema, state, reason, progress, exit, since, tunnels, relays, directory
        case lockdown, health
        case loginUntil = "login_until"
        case bytesSent = "bytes_sent"
        case bytesReceived = "bytes_received"
    }
}
