import Base
import Circuits
import CryptoPrimitives
import Flows
import Wire

/// The exit's side of a shard: which circuits hold which leases, policy and the way to the TUN device
/// and back.
///
/// The control plane gives leases out; here is who holds them in this shard. Packets stay where they
/// lie in the arena; ``coalescer`` lists what the shell writes.
struct ExitGate: ~Copyable {
    private static let refusalsPerSecond: UInt64 = 100

    private let policy: ExitPolicy
    private let pool: LeasePool
    /// The slot of the circuit that holds a lease, by its number; -1 where none does here.
    private var holders: [Int32]
    /// The shard whose circuit holds a lease, by its number; empty where there is but one shard.
    private var shards: [UInt8]
    var coalescer: TunCoalescer
    private var refusals: TokenBucket

    init(_ settings: ExitSettings, shardCount: Int, now: Instant) {
        policy = ExitPolicy(
            allow: settings.allow,
            own: settings.own.map { IPNetwork($0, prefixBitCount: 128) },
            pools: [settings.pool.v4] + (settings.pool.v6.map { [$0] } ?? []),
            ports: settings.ports
        )
        pool = settings.pool
        holders = Array(repeating: -1, count: pool.capacity)
        shards = shardCount > 1 ? Array(repeating: 0, count: pool.capacity) : []
        coalescer = TunCoalescer(
            offload: settings.offload,
            headerRegion: ArenaLayout.tunnelHeaders
        )
        refusals = TokenBucket(
            perSecond: Self.refusalsPerSecond,
            burst: Self.refusalsPerSecond,
            now: now
        )
    }

    // MARK: Leases

    /// The circuit in `slot` holds `lease` from now on.
    mutating func hold(_ lease: UInt32, by slot: Int) {
        guard Int(lease) < holders.count else { return }
        holders[Int(lease)] = Int32(truncatingIfNeeded: slot)
    }

    /// The circuit in `slot` does not hold `lease` any more, if it did.
    mutating func release(_ lease: UInt32, by slot: Int) {
        guard Int(lease) < holders.count, holders[Int(lease)] == Int32(truncatingIfNeeded: slot)
        else { return }
        holders[Int(lease)] = -1
    }

    /// The circuit that holds `lease` belongs to `shard` from now on.
    mutating func note(_ lease: UInt32, at shard: Int) {
        guard Int(lease) < shards.count else { return }
        shards[Int(lease)] = UInt8(truncatingIfNeeded: shard)
    }

    /// Where a packet to `address` belongs.
    enum Holder {
        case circuit(slot: Int, AddressRewriter)
        case shard(Int)
        case nobody
    }

    /// Who holds the lease with this address.
    func holder(of address: IPAddress) -> Holder {
        guard let lease = pool.number(of: address) else { return .nobody }
        let slot = holders[Int(lease)]
        if slot >= 0 {
            let rewriter = AddressRewriter(lease: pool.addresses(of: lease))
            return .circuit(slot: Int(slot), rewriter)
        }
        return shards.isEmpty ? .nobody : .shard(Int(shards[Int(lease)]))
    }

    // MARK: Packets

    /// What became of a client's packet.
    enum Outcome {
        case written
        case malformed
        case full
        /// Dropped to tell its sender of a long queue.
        case dropped
        /// Refused; an answer may be given to the packet with this header.
        case refused(IPHeader, mayAnswer: Bool)
    }

    /// Hands the packet of the circuit that holds `lease` to the TUN device, if it may go there.
    ///
    /// One that `isMarked`, having come through a long queue, tells its sender by `signal`.
    mutating func send(
        _ packet: Range<Int>,
        lease: UInt32,
        isMarked: Bool,
        signal: inout CongestionSignal,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Outcome {
        guard let header = try? IPHeader(parsing: bytes.bytes, packet) else { return .malformed }
        if isMarked {
            let goesOn = signal.apply(
                by: header,
                packetOffset: packet.lowerBound,
                in: &bytes,
                now: now
            )
            guard goesOn else { return .dropped }
        }
        switch policy.verdict(for: packet, header: header, in: bytes.bytes) {
        case .refuse:
            return .refused(header, mayAnswer: refusals.take(now: now))
        case .accept, .dns:
            break
        }
        let rewriter = AddressRewriter(lease: pool.addresses(of: lease))
        do throws(FlowError) {
            try rewriter.rewriteForward(packet, header: header, in: &bytes)
        } catch {
            return .malformed
        }
        return coalescer.append(packet, in: &bytes) ? .written : .full
    }
}
