import Base
import ClientCore
import CryptoPrimitives
import EventLoop
import NamespaceSupport
import Synchronization
import TestSupport
import Testing
import UDPTransport

@testable import NodeRuntime

@Suite(
    "Tunnels of a client's packet thread",
    .timeLimit(.minutes(1)),
    .enabled(if: NetworkNamespace.whyUnavailable == nil)
)
struct TunnelLimitTests {
    private final class Answers: Sendable {
        private let openings = Mutex<[TunnelOpening]>([])

        func add(_ opening: TunnelOpening) {
            openings.withLock { $0.append(opening) }
        }

        var all: [TunnelOpening] { openings.withLock { $0 } }
    }

    @Test("one more than there may be is refused, the others stay, and a closed one makes room")
    func limit() throws {
        let wakeup = try Wakeup()
        let mailbox = Mailbox<ClientLoopMessage>(capacity: 1, wakeup: wakeup)
        let answers = Answers()
        func open(_ number: Int) {
            let id = TunnelID(rawValue: UInt32(number))
            mailbox.insist(.openTunnel(id, .made(name: "limit\(number)")) { answers.add($0) })
        }
        let limit = ClientShard.tunnelLimit
        for number in 1...limit + 1 { open(number) }
        mailbox.insist(.closeTunnel(TunnelID(rawValue: 2)))
        open(limit + 2)
        open(limit + 3)
        mailbox.insist(.stop)
        try NetworkNamespace().inside {
            let loop = ClientLoop(
                shard: ClientShard(random: RandomGenerator(testSeed: 1), now: MonotonicClock.now()),
                sockets: try PacketSockets([], options: UDPOptions()),
                mailbox: mailbox,
                wakeup: wakeup,
                deliver: { _ in },
                interfaceGone: { _ in }
            )
            try loop.run()
        }
        let kinds = answers.all.map { answer in
            switch answer {
            case .opened: "opened"
            case .refused: "refused"
            case .full: "full"
            }
        }
        let opened = [String](repeating: "opened", count: limit)
        #expect(kinds == opened + ["full", "opened", "full"])
    }
}
