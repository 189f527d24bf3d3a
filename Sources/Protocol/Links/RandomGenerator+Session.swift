public import CryptoPrimitives
public import Wire

extension RandomGenerator {
    /// Draws a session number that names `shard` of `count`.
    ///
    /// Spec: PROTOCOL.md §C.2.
    /// - Precondition: `shard` is below `count`.
    public mutating func session(of shard: Int, count: Int) -> SessionID {
        while true {
            if let session = SessionID(rawValue: UInt32(truncatingIfNeeded: next())),
                session.shard(of: count) == shard
            {
                return session
            }
        }
    }
}
