public import Wire

/// Why a packet or fragment is dropped; each case is a counter.
public enum FlowError: Error, Hashable, Sendable {
    /// Bytes that are no IP packet, or no transport header where one must be.
    case malformed(WireError)
    /// An offload header that does not fit its packet.
    case invalidOffload(field: StaticName)
    /// A source other than the tunnel's own address.
    case foreignSource
    /// A destination other than the address the packet was to be brought back from.
    case foreignDestination
    /// An ICMP error about a packet that was never the tunnel's.
    case foreignQuote
    /// A fragment that overlaps, repeats or contradicts another of its packet.
    case conflictingFragment
    /// More bytes or fragments than a packet in progress may have.
    case fragmentLimit
    /// A secret that opens no lease.
    case unknownLease
    /// No lease is free.
    case noLeaseFree
}
