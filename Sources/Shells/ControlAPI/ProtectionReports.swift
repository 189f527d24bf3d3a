/// Asks for traffic to stay blocked after `down` too, or not: `POST /v1/lockdown`.
public struct LockdownRequest: Codable, Hashable, Sendable {
    /// Whether it is to.
    public var isOn: Bool

    /// Makes a request.
    public init(isOn: Bool) {
        self.isOn = isOn
    }

    private enum CodingKeys: String, CodingKey {
        case isOn = "on"
    }
}

/// Asks for a window through the lock, to log in to a network: `POST /v1/login`.
public struct LoginRequest: Codable, Hashable, Sendable {
    /// The longest a window may be open, in seconds.
    public static let secondsLimit = 300

    /// Whose web traffic passes; the asking user may name another one only as root.
    public var user: UInt32
    /// How long, in seconds: 1 to ``secondsLimit``; 0 closes a window that is open.
    public var seconds: Int

    /// Makes a request from its parts.
    public init(user: UInt32, seconds: Int) {
        self.user = user
        self.seconds = seconds
    }
}

/// What a client measured of the network it is in: `POST /v1/netcheck`.
public struct NetworkReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Whether there is a way out over IPv4.
    public var ipv4: Bool
    /// Whether there is a way out over IPv6.
    public var ipv6: Bool
    /// Whether any guard answered by UDP; `nil` where there was none to ask.
    public var udp: Bool?
    /// The largest IP packet, in bytes, the way to the guards takes by all that is known here; `nil`
    /// where no guard answered.
    public var mtu: Int?
    /// Whether addresses are translated on the way out.
    public var nat: Translation
    /// The guards that were asked, the preferred one first; one entry for each address.
    public var guards: [Guard]
    /// How addresses are translated, IPv4 first, where guards said how they see them; `nil` where
    /// none did.
    public var mappings: [Mapping]?

    /// Whether this machine's addresses are those others see.
    public enum Translation: String, Codable, CaseIterable, Sendable {
        /// Its address is the one guards see, or, where none says, a public one.
        case none
        /// Guards see another address than its own, or, where none says, its own is a private one: a
        /// router on the way translates it.
        case translated
        /// There is no way out.
        case unknown
    }

    /// How guards see the address and port of one socket of this machine.
    public struct Mapping: Codable, Hashable, Sendable {
        /// What becomes of a socket's address and port on the way.
        public enum Kind: String, Codable, CaseIterable, Sendable {
            /// They stay what they are.
            case none
            /// They become the same for every guard (endpoint-independent mapping, RFC 4787).
            case fixed
            /// They become others for each guard (address-dependent mapping, RFC 4787).
            case varies
            /// They change, and one guard alone cannot tell whether the same way for all.
            case unknown
        }

        /// What becomes of them.
        public var kind: Kind
        /// The socket's own address and port.
        public var local: String
        /// The addresses and ports guards saw, one for each that said so.
        public var seen: [String]

        /// Makes an entry from its parts.
        public init(kind: Kind, local: String, seen: [String]) {
            self.kind = kind
            self.local = local
            self.seen = seen
        }
    }

    /// A guard that was asked.
    public struct Guard: Codable, Hashable, Sendable {
        /// The relay's name.
        public var nickname: String
        /// The relay's identifier, 64 hexadecimal digits.
        public var id: String
        /// The address and port it was asked at.
        public var address: String
        /// Milliseconds until it answered a handshake; `nil` where it did not.
        public var roundTrip: Double?
        /// Whether a whole datagram came through without being cut on the way; `nil` where none did.
        public var isWhole: Bool?
        /// The largest IP packet the way takes, in bytes, as far as the kernel knows.
        public var mtu: Int?

        /// Makes an entry from its parts.
        public init(
            nickname: String,
            id: String,
            address: String,
            roundTrip: Double? = nil,
            isWhole: Bool? = nil,
            mtu: Int? = nil
        ) {
            self.nickname = nickname
            self.id = id
            self.address = address
            self.roundTrip = roundTrip
            self.isWhole = isWhole
            self.mtu = mtu
        }

        private enum CodingKeys: String, CodingKey {
            case nickname, id, address, mtu
            case roundTrip = "rtt_ms"
            case isWhole = "whole"
        }
    }

    /// Makes a report in the current schema.
    public init(
        ipv4: Bool,
        ipv6: Bool,
        udp: Bool?,
        mtu: Int?,
        nat: Translation,
        guards: [Guard],
        mappings: [Mapping]? = nil
    ) {
        schema = reportSchema
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.udp = udp
        self.mtu = mtu
        self.nat = nat
        self.guards = guards
        self.mappings = mappings
    }
}

/// What a client's daemon does to keep traffic where it belongs, and what it says of that.
public protocol ProtectionService: Sendable {
    /// Leaves all circuits for others; connections through them end.
    func reconnect() async throws(Failure) -> StatusReport

    /// Turns lockdown on or off.
    func setLockdown(_ request: LockdownRequest) async throws(Failure) -> StatusReport

    /// Opens or closes the window for a network's login page; `request.seconds` is in its bounds.
    ///
    /// `peer` asked for it: only root may name another user than itself.
    func login(
        _ request: LoginRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> StatusReport

    /// Measures the network this machine is in.
    func checkNetwork() async throws(Failure) -> NetworkReport

    /// What happened lately, oldest first.
    func events() async -> [EventReport]

    /// What happened lately and, after that, what happens, until the daemon stops or the reader does.
    func eventUpdates() async -> AsyncStream<EventReport>
}
