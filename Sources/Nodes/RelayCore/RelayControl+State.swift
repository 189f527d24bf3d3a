import Base
public import Circuits
public import CryptoPrimitives
import DequeModule
import Directory
import Flows
import Links
import Onion
import Tickets
public import Wire

// What a relay is, and what it keeps of links and circuits.
extension RelayControl {
    /// What a relay is.
    public struct Identity: Sendable {
        /// The network it serves.
        public let network: NetworkID
        /// Its identity key.
        public let signingKey: Ed25519.SigningKey
        /// Its circuit keys, the newest first.
        public let circuitKeys: [XWing.PrivateKey]

        /// Puts an identity together.
        public init(
            network: NetworkID,
            signingKey: Ed25519.SigningKey,
            circuitKeys: [XWing.PrivateKey]
        ) {
            precondition(!circuitKeys.isEmpty, "a relay has a circuit key")
            self.network = network
            self.signingKey = signingKey
            self.circuitKeys = circuitKeys
        }

        /// The relay's name.
        public var relay: NodeID {
            NodeID(signingKey.publicKey)
        }
    }

    /// Addresses a relay reaches others by.
    public struct Families: Sendable {
        /// Whether it can send over IPv4.
        public var v4: Bool
        /// Whether it can send over IPv6.
        public var v6: Bool

        /// Says which families are usable.
        public init(v4: Bool, v6: Bool) {
            self.v4 = v4
            self.v6 = v6
        }

        func address(of record: RelayRecord) -> SocketAddress? {
            if v4, let address = record.addresses.v4 { return address }
            return v6 ? record.addresses.v6 : nil
        }
    }

    /// A circuit as one link numbers it.
    public struct RouteKey: Hashable, Sendable {
        let link: LinkID
        let number: CircuitNumber
    }

    /// A relay as one shard reaches it: each shard has links of its own.
    struct Neighbour: Hashable {
        let relay: NodeID
        let shard: Int
    }

    struct LinkState {
        let peer: LinkPeer
        let shard: Int
        let isInitiator: Bool
        /// Where a client is; `nil` for a relay.
        var source: IPAddress?
        var creates: TokenBucket
        var circuits: Set<CircuitID> = []
        /// Whether both ends have shown that they hold its keys.
        var stands = false
    }

    enum CreateState {
        case working(mark: UInt64)
        case established(CircuitID, mark: UInt64)
    }

    struct PendingExtend {
        var next: NodeID
        var create: [UInt8]
        var tries = 0
        var wait = RelayControl.earlyWait
    }

    struct CircuitState {
        let id: CircuitID
        /// The shard of its previous link, and of its next one.
        let shard: Int
        let previous: RouteKey
        let hop: HopIndex
        /// The answer to its CREATE, which may be asked for again; empty once that is over.
        var created: [UInt8]
        var channel: ControlChannel
        var next: RouteKey?
        var extend: PendingExtend?
        /// Whether it was asked to be extended: that happens once, whatever comes of it.
        var wasExtended = false
        var extendDue: Instant = .distantFuture
    }

    /// Counts of the control plane, for metrics and tests.
    public struct Counters: Sendable, Equatable {
        /// Links that stood.
        public var links: UInt64 = 0
        /// Circuits created.
        public var circuits: UInt64 = 0
        /// CREATEs of which a replay was dropped.
        public var replayedCreates: UInt64 = 0
        /// CREATEs refused for lack of capacity or budget.
        public var busyCreates: UInt64 = 0
        /// CREATEs that did not open.
        public var failedCreates: UInt64 = 0
        /// Circuits destroyed because a rule was broken.
        public var violations: UInt64 = 0
        /// Extensions that failed.
        public var failedExtends: UInt64 = 0
        /// Requests to mints handed on.
        public var mintRequests: UInt64 = 0
        /// Requests to mints refused for lack of budget.
        public var busyMintRequests: UInt64 = 0
    }

    /// What a relay remembers of CREATEs its circuit key opened before this start.
    public enum ReplayMemory: Sendable {
        /// The key opened none: this is its first run.
        case none
        /// All of the last minutes; the relay was stopped in order.
        case marks(CreateFilter)
        /// Nothing, though there were some: recordings of the last minutes could be replayed.
        case lost
    }

    /// A command and the shard it is for.
    public struct ShardCommand: Sendable {
        /// The shard's number.
        public let shard: Int
        /// What it is to do.
        public let command: RelayCommand
    }
}
