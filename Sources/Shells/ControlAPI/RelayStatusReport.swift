/// The state of a relay: `GET /v1/status` at a relay's socket.
public struct RelayStatusReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The relay's name.
    public var nickname: String
    /// The relay's identifier, 64 hexadecimal digits.
    public var identity: String
    /// Seconds since it started.
    public var uptimeSeconds: UInt64
    /// Links open to neighbours.
    public var links: Int
    /// Circuits open.
    public var circuits: Int
    /// Cells passed on towards exits.
    public var cellsForward: UInt64
    /// Cells passed on towards clients.
    public var cellsBackward: UInt64
    /// What was dropped, counted by reason.
    public var drops: [String: UInt64]
    /// Addresses leased to circuits; `nil` where the relay is no exit.
    public var exitLeases: Int?
    /// The resolver it runs for its clients; `nil` where it runs none.
    public var resolver: ExitResolverReport?
    /// What it carries and may carry; `nil` before the first second is over.
    public var line: RelayLineReport?
    /// What it knows of its network; `nil` before the first document.
    public var directory: DirectoryReport?
    /// Whether the directory lists it; `nil` where nobody is told of it.
    public var listing: ListingReport?

    /// Makes a report in the current schema.
    public init(
        nickname: String,
        identity: String,
        uptimeSeconds: UInt64,
        links: Int,
        circuits: Int,
        cellsForward: UInt64,
        cellsBackward: UInt64,
        drops: [String: UInt64],
        exitLeases: Int?,
        resolver: ExitResolverReport? = nil,
        line: RelayLineReport? = nil,
        directory: DirectoryReport? = nil,
        listing: ListingReport? = nil
    ) {
        schema = reportSchema
        self.nickname = nickname
        self.identity = identity
        self.uptimeSeconds = uptimeSeconds
        self.links = links
        self.circuits = circuits
        self.cellsForward = cellsForward
        self.cellsBackward = cellsBackward
        self.drops = drops
        self.exitLeases = exitLeases
        self.resolver = resolver
        self.line = line
        self.directory = directory
        self.listing = listing
    }

    private enum CodingKeys: String, CodingKey {
        case schema, nickname, identity, links, circuits, drops, resolver, line, directory, listing
        case uptimeSeconds = "uptime_s"
        case cellsForward = "cells_forward"
        case cellsBackward = "cells_backward"
        case exitLeases = "exit_leases"
    }
}

/// The resolver an exit runs for its clients.
public struct ExitResolverReport: Codable, Hashable, Sendable {
    /// The program: `unbound` or `dnsmasq`.
    public var program: String
    /// Whether it answered when it was asked last.
    public var answers: Bool
    /// How often it had to be started again.
    public var restarts: UInt64

    /// Puts a report together.
    public init(program: String, answers: Bool, restarts: UInt64) {
        self.program = program
        self.answers = answers
        self.restarts = restarts
    }
}

/// What kind of node answers a socket: `GET /v1/node`.
public struct NodeReport: Codable, Hashable, Sendable {
    /// The roles a node may have.
    public enum Role: String, Codable, Sendable {
        /// A client's daemon.
        case client
        /// A relay, exits included.
        case relay
        /// One that signs the directory.
        case authority
        /// One that signs vouchers.
        case mint
    }

    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The node's role.
    public var role: Role
    /// The version of its program.
    public var version: String
    /// Its process.
    public var pid: Int32
    /// True for a client's daemon without rights over its machine's network: whoever wants a tunnel
    /// of it brings a TUN device.
    public var rootless: Bool?

    /// Makes a report in the current schema.
    public init(role: Role, version: String, pid: Int32, rootless: Bool? = nil) {
        schema = reportSchema
        self.rootless = rootless
        self.role = role
        self.version = version
        self.pid = pid
    }
}
