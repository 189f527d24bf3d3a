public import Wire

/// What a circuit is wanted for.
public struct PathConstraints: Hashable, Sendable {
    /// The countries the exit may stand in; empty for any.
    public var exitCountries: Set<CountryCode> = []
    /// The one relay that must be the exit; `nil` for any.
    public var exit: NodeID?
    /// Relays not to be used this time; see ``RelayExclusions`` for never.
    public var excluded: Set<NodeID> = []
    /// Whether the exit must carry IPv6.
    public var needsIPv6 = false
    /// Ports the exit must be ready to accept, all of them.
    public var ports: [Port] = []
    /// Whether this machine reaches guards over IPv4.
    public var reachesV4 = true
    /// Whether this machine reaches guards over IPv6.
    public var reachesV6 = true

    /// A port of one transport.
    public struct Port: Hashable, Sendable {
        /// The port.
        public var number: UInt16
        /// The transport.
        public var transport: PolicyTransport

        /// Names the port `number` of `transport`.
        public init(_ number: UInt16, _ transport: PolicyTransport) {
            self.number = number
            self.transport = transport
        }
    }

    /// Wants nothing in particular.
    public init() {}
}

extension PathConstraints: CustomStringConvertible {
    /// The exit that is wanted, for people: ` in DE for tcp 25`; empty for any.
    public var description: String {
        var text = ""
        if let exit { text += " \(exit)" }
        if !exitCountries.isEmpty {
            let names = exitCountries.sorted().map(\.description)
            text += " in \(names.joined(separator: " or "))"
        }
        if needsIPv6 { text += " with IPv6" }
        if !ports.isEmpty {
            let names = ports.map { "\($0.transport) \($0.number)" }
            text += " for \(names.joined(separator: ", "))"
        }
        return text
    }
}

/// The three relays of a circuit, each with its record.
public struct Path: Hashable, Sendable {
    /// The first hop, which sees the client's address.
    public let guardRelay: RelayRecord
    /// The second hop.
    public let middle: RelayRecord
    /// The third hop, which sees the destinations.
    public let exit: RelayRecord

    /// The hops in order.
    public var hops: [RelayRecord] {
        [guardRelay, middle, exit]
    }
}

/// A place in a path.
public enum PathPosition: Hashable, Sendable, CaseIterable {
    /// The first hop.
    case guardRelay
    /// The second hop.
    case middle
    /// The third hop.
    case exit
}
