public import Base
import Links
import Wire

extension RelayControl {
    /// Ends all circuits: their clients go on over others at once.
    ///
    /// To be preceded by ``isAccepting`` = false, else new ones come in the next moment.
    public mutating func endCircuits(now: Instant) {
        for id in circuits.keys.sorted() { destroy(id, reason: .busy, now: now) }
    }

    /// Says goodbye on all links: neighbours need not find out that nobody answers any more.
    public mutating func sayGoodbye() {
        for id in links.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            tell(.removeLink(id, saysGoodbye: true), to: id)
        }
    }
}
