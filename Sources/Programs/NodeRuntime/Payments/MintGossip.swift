import Base
import Tickets
import Wire

/// What one mint tells the others: each item until the other has taken it.
///
/// What is told is signed by others and only ever adds, so it may come late, twice and in any order.
/// Bound: ``limit`` items wait for a mint that is away; beyond it the oldest are given up, and come to
/// it by those they concern (relays deposit with every mint, wallets bring certificates and grants).
actor MintGossip {
    static let limit = 4_096
    private static let retry: Duration = .seconds(1)
    private static let longestRetry: Duration = .seconds(30)

    private struct Peer {
        var queue: [MintRequest] = []
        var isBusy = false
        var wait = MintGossip.retry
    }

    private let own: UInt8
    private let post = MintPost()
    private var tickets: TicketNetwork?
    private var peers: [UInt8: Peer] = [:]
    /// Items given up since the start.
    private(set) var dropped: UInt64 = 0

    /// Tells for the mint with this index.
    init(own: UInt8) {
        self.own = own
    }

    /// Takes the mints as the newest consensus has them.
    func setTickets(_ tickets: TicketNetwork) {
        self.tickets = tickets
        for index in tickets.mints.keys where index != own { send(to: index) }
    }

    /// Tells every other mint.
    func tell(_ request: MintRequest) {
        // Mints that never announced themselves are told once they do.
        let count = tickets?.mintCount ?? 0
        for index in (0..<count).map({ UInt8(clamping: $0) }) where index != own {
            var peer = peers[index] ?? Peer()
            if peer.queue.count >= Self.limit {
                peer.queue.removeFirst()
                dropped += 1
            }
            peer.queue.append(request)
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
                let reply = try await post.ask(next, of: index, in: tickets)
                await finish(index, isTaken: Self.isTaken(reply))
            } catch {
                await finish(index, isTaken: false)
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

    private func finish(_ index: UInt8, isTaken: Bool) async {
        guard var peer = peers[index] else { return }
        peer.isBusy = false
        if isTaken {
            peer.queue.removeFirst()
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
