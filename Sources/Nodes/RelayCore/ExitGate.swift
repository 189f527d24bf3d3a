import Base
import Circuits
import CryptoPrimitives
import Flows
import Wire

/// The exit's side of a shard: leases, policy and the way to the TUN device and back.
///
/// Packets stay where they lie in the arena; ``coalescer`` lists what the shell writes.
struct ExitGate: ~Copyable {
    private static let refusalsPerSecond: UInt64 = 100

    private let policy: ExitPolicy
    var leases: LeaseTable
    var coalescer: TunCoalescer
    private var refusals: TokenBucket
    let carriesV6: Bool
    let leaseIdleLimit: TimeSpan

    init(_ settings: ExitSettings, random: inout RandomGenerator, now: Instant) {
        policy = ExitPolicy(
            allow: settings.allow,
            own: settings.own.map { IPNetwork($0, prefixBitCount: 128) },
            pools: [settings.v4Pool] + (settings.v6Pool.map { [$0] } ?? []),
            ports: settings.ports
        )
        leases = LeaseTable(
            v4Pool: settings.v4Pool,
            v6Pool: settings.v6Pool,
            capacity: settings.leaseLimit,
            idleLimit: settings.leaseIdleLimit,
            first: UInt32(random.next(below: UInt64(settings.leaseLimit)))
        )
        coalescer = TunCoalescer(
            offload: settings.offload,
            headerRegion: ArenaLayout.tunnelHeaders
        )
        refusals = TokenBucket(
            perSecond: Self.refusalsPerSecond,
            burst: Self.refusalsPerSecond,
            now: now
        )
        carriesV6 = settings.v6Pool != nil
        leaseIdleLimit = settings.leaseIdleLimit
    }

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
        let rewriter = AddressRewriter(lease: leases.addresses(of: lease))
        do throws(FlowError) {
            try rewriter.rewriteForward(packet, header: header, in: &bytes)
        } catch {
            return .malformed
        }
        return coalescer.append(packet, in: &bytes) ? .written : .full
    }
}
