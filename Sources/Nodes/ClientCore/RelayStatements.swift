import Base
import Directory
import Wire

/// What the hops of circuits said of their directories and clocks, held against the client's own.
///
/// Each hop's statement is sealed for the client, so that no relay before it can bend it. The
/// statements are counted, never obeyed: they change neither directory nor clock.
/// Spec: §B.2 (SM), §E.3.
public struct RelayStatements: Sendable, Equatable {
    /// Hops that name the client's own consensus.
    public private(set) var same: UInt64 = 0
    /// Hops whose consensus is older than the client's.
    public private(set) var older: UInt64 = 0
    /// Hops whose consensus is newer than the client's.
    public private(set) var newer: UInt64 = 0
    /// Hops that name another consensus of the very time of the client's: somebody is deceived.
    public private(set) var conflicting: UInt64 = 0
    /// Hops that have no consensus.
    public private(set) var none: UInt64 = 0
    /// Minutes by which relays' clocks are ahead of the client's; `nil` before the first circuit.
    ///
    /// Of the last circuit's three it is the middle one: no liar moves it beyond the others.
    public private(set) var clockOffsetMinutes: Int?

    /// Nothing said yet.
    public init() {}

    /// Takes what the three hops of a circuit said.
    mutating func note(_ messages: [ServerMessage], view: NetworkView, wall: WallTime) {
        let own = UInt32(clamping: view.validAfter.seconds)
        for message in messages {
            if message.consensusValidAfter == 0 {
                none += 1
            } else if message.consensusValidAfter < own {
                older += 1
            } else if message.consensusValidAfter > own {
                newer += 1
            } else if message.consensusDigest == view.shortDigest {
                same += 1
            } else {
                conflicting += 1
            }
        }
        let offsets = messages.map { Int($0.minute) - Int(wall.minute) }.sorted()
        if !offsets.isEmpty { clockOffsetMinutes = offsets[offsets.count / 2] }
    }
}
