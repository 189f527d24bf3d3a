public import Base
public import Wire

/// The network as one believed consensus shows it: what relays and clients look things up in.
///
/// Only ``TrustRoot/verify(_:at:graceSeconds:lastSeen:)`` makes one.
public struct NetworkView: Sendable {
    /// The consensus.
    public let consensus: Consensus
    /// SHA-256 of its body.
    public let digest: Bytes32
    private let indexByAddress: [SocketAddress: Int]

    init(believing document: ConsensusDocument, keeping kept: Set<NodeID>? = nil) {
        var consensus = document.consensus
        if let kept { consensus.relays.removeAll { !kept.contains($0.id) } }
        self.consensus = consensus
        digest = document.digest
        var indexes: [SocketAddress: Int] = [:]
        indexes.reserveCapacity(consensus.relays.count)
        for (index, relay) in consensus.relays.enumerated() {
            for address in relay.addresses.all where indexes[address] == nil {
                indexes[address] = index
            }
        }
        indexByAddress = indexes
    }

    /// The network's name.
    public var network: NetworkID {
        consensus.network
    }

    /// The network's parameters.
    public var parameters: NetworkParameters {
        consensus.parameters
    }

    /// Every relay, ascending by identity.
    public var relays: [RelayRecord] {
        consensus.relays
    }

    /// When the consensus began to hold.
    public var validAfter: WallTime {
        consensus.validAfter
    }

    /// Documents in the log before this one, as handshakes name it.
    public var logSize: UInt32 {
        consensus.logSize
    }

    /// The first 16 bytes of the digest, as handshakes name the consensus.
    public var shortDigest: [UInt8] {
        Array(digest.bytes.prefix(16))
    }

    /// How good the view still is.
    public enum Freshness: Hashable, Sendable {
        /// No newer document is due.
        case fresh
        /// A newer document is due; this one still holds.
        case stale
        /// No circuit may be built by it.
        case expired
    }

    /// How good the view is at `now`.
    public func freshness(at now: WallTime) -> Freshness {
        if now >= consensus.validUntil { return .expired }
        return now < consensus.freshUntil ? .fresh : .stale
    }

    /// The relay `id`; `nil` when it is not listed.
    ///
    /// Logarithmic in the number of relays.
    public func relay(_ id: NodeID) -> RelayRecord? {
        index(of: id).map { relays[$0] }
    }

    /// The relay that answers at `address`; `nil` when none is listed there.
    public func relay(at address: SocketAddress) -> RelayRecord? {
        indexByAddress[address].map { relays[$0] }
    }

    /// The position of `id` in ``relays``; `nil` when it is not listed.
    public func index(of id: NodeID) -> Int? {
        var low = 0
        var high = relays.count
        while low < high {
            let middle = (low + high) / 2
            if relays[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < relays.count && relays[low].id == id ? low : nil
    }
}
