import ClientCore
import EventLoop
import RelayCore

extension Mailbox<ClientControlMessage> {
    /// Hands over what a client's shard reports.
    func deliver(_ events: [ClientEvent]) {
        deliver(events, as: { .events($0) }, isRepeated: { $0.isRepeated })
    }
}

extension Mailbox<RelayControlMessage> {
    /// Hands over what `shard` of a relay reports.
    func deliver(_ events: [RelayEvent], from shard: Int) {
        deliver(events, as: { .events($0, from: shard) }, isRepeated: { $0.isRepeated })
    }
}

extension Mailbox {
    /// Hands events over; where too much waits, only what happens once.
    private func deliver<Event>(
        _ events: [Event],
        as message: ([Event]) -> Element,
        isRepeated: (Event) -> Bool
    ) {
        let rest = events.filter { !isRepeated($0) }
        guard !post(message(events), weight: events.count - rest.count) else { return }
        if !rest.isEmpty { insist(message(rest)) }
    }
}
