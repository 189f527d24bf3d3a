import Base
public import Wire

extension IPHeader {
    /// Marks the packet at `packetOffset` "congestion experienced" if its sender understands ECN.
    ///
    /// - Returns: whether the packet carries the mark now; where not, dropping is what is left.
    /// - Precondition: this is the packet's header.
    @discardableResult
    public func setCongestionExperienced(
        in arena: inout MutableRawSpan,
        packetOffset: Int
    ) -> Bool {
        guard ecn != 0 else { return false }
        guard ecn != 3 else { return true }
        let word: UInt16 = arena.loadBigEndian(at: packetOffset)
        if isV6 {
            // Version 4 bits, traffic class 8, flow label.
            arena.storeBigEndian(word | 0x0030, at: packetOffset)
            return true
        }
        arena.storeBigEndian(word | 0x0003, at: packetOffset)
        let field = packetOffset + IPLayout.v4Checksum
        let checksum = InternetChecksum.updated(
            arena.loadBigEndian(at: field),
            replacing: word,
            with: word | 0x0003
        )
        arena.storeBigEndian(checksum, at: field)
        return true
    }
}
