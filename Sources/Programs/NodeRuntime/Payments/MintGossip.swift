import Base
import Tickets
import Wire

/// What one mint tells the others: each item until the other has taken it.
///
/// What is told is signed by others and only ever adds, so it may come late, twice and in any order.
/// What waits is on the mint's disk too, so that a mint that dies tells it when it is back. Bound:
/// ``limit`` items wait for a mint that is away; beyond it the oldest are given up here, until the next
/// start.
actor MintGossip {
    static let limit = 4_096
    private static let retry: Duration = .seconds(1)
    private static let longestRetry: Duration = .seconds(30)

    private struct Peer {
        var queue: [(number: UInt64, request: MintRequest)] = []
        var isBusy = false
        var wait = MintGossip.retry
    }

    private let own: UInt8
    private let post = MintPost()
    private var tickets: TicketNetwork?
    private var peers: [UInt8: Peer] = [:]
    private let told: @Sendable (UInt64, UInt8) -> Void
    /// Items given up since the start.
    private(set) var dropped: UInt64 = 0

    /// Tells for the mint with this index; `told` hears of each item a mint has taken.
    init(own: UInt8, told: @escaping @Sendable (UInt64, UInt8) -> Void) {
        self.own = own
        self.told = told
    }

    /// Takes the mints as the newest consensus has them.
    func setTickets(_ tickets: TicketNetwork) {
        self.tickets = tickets
        for index in tickets.mints.keys where index != own { send(to: index) }
    }

    /// Tells `mints` the item with this number; those that never announced themselves once they do.
    func tell(_ number: UInt64, _ request: MintRequest, to mints: [UInt8]) {
        for index in mints where index != own {
            var peer = peers[index] ?? Peer()
            if peer.queue.count >= Self.limit {
                peer.queue.removeFirst()
                dropped += 1
            }
            peer.queue.append((number, request))
            peers[index] = peer
            send(to: index)
        }
    }

    /// Items that wait.
    var waiting: Int {
        peers.values.reduce(0) { $0 + $1.queue.count }
    }

    private func send(to index: UInt8) {
        guard let tickets, var peer = peers[index], !peer.isBusy, let next = peer.queue.first
        else { return }
        peer.isBusy = true
        peers[index] = peer
        let post = post
        Task {
            do throws(MintPostError) {
                let reply = try await post.ask(next.request, of: index, in: tickets)
                await finish(index, next.number, isTaken: Self.isTaken(reply))
            } catch {
                await finish(index, next.number, isTaken: false)
            }
        }
    }

    /// Whether it need not be told again: taken, or refused for what it is.
    private static func isTaken(_ reply: MintReply) -> Bool {
        switch reply {
        case .refused(.unavailable, _), .refused(.busy, _): false
        default: true
        }
    }

    private func finish(_ index: UInt8, _ number: UInt64, isTaken: Bool) async {
        guard var peer = peers[index] else { return }
        peer.isBusy = false
        if isTaken {
            // It may have been given up meanwhile.
            if peer.queue.first?.number == number { peer.queue.removeFirst() }
            told(number, index)
            peer.wait = Self.retry
            peers[index] = peer
            return send(to: index)
        }
        let wait = peer.wait
        peer.wait = min(wait * 2, Self.longestRetry)
        // Nobody sends meanwhile.
        peer.isBusy = true
        peers[index] = peer
        try? await Task.sleep(for: wait)
        peers[index]?.isBusy = false
        send(to: index)
    }
}
