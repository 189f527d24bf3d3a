import Base
import ControlAPI
import CryptoPrimitives
import EventLoop
import Glibc
import HostNetwork
import Links
import Wire

/// Asks a guard for a link it then does not use, to see whether its answer comes, how soon, and
/// whether whole datagrams come through.
///
/// On a socket of its own, beside whatever else the client does; every handshake datagram is as long
/// as any other, so one exchange tests the path for all of them.
struct GuardProbe: Sendable {
    /// Who is asked.
    let relay: RelayRecord
    /// Where.
    let address: SocketAddress
    /// The network it belongs to.
    let network: NetworkID

    private static let limit: TimeSpan = .milliseconds(1_500)

    /// What came of an exchange.
    struct Exchange {
        /// Until the answer came.
        var trip: TimeSpan
        /// Where the guard saw the question come from; `nil` where it did not say.
        var seen: SocketAddress?
    }

    /// Asks on a thread of its own, with whole datagrams first, then with such as may be cut.
    func run() async -> NetworkReport.Guard {
        await LoopThread.result(name: "umbel-netcheck") { self.ask() } ?? report(nil, isWhole: nil)
    }

    private func ask() -> NetworkReport.Guard {
        for isWhole in [true, false] {
            guard let socket = ProbeSocket(to: address, isWhole: isWhole),
                let exchange = exchange(by: socket)
            else { continue }
            return report(exchange, mtu: socket.mtu, isWhole: isWhole)
        }
        return report(nil, isWhole: nil)
    }

    private func report(
        _ exchange: Exchange?,
        mtu: Int? = nil,
        isWhole: Bool?
    ) -> NetworkReport.Guard {
        NetworkReport.Guard(
            nickname: relay.nickname,
            id: relay.id.rawValue.hex,
            address: "\(address)",
            roundTrip: exchange?.trip.milliseconds,
            isWhole: isWhole,
            mtu: mtu
        )
    }

    /// One handshake by `socket`, which speaks to this guard; `nil` where no answer comes.
    func exchange(by socket: ProbeSocket) -> Exchange? {
        guard let random = try? RandomGenerator.seeded() else { return nil }
        var dialer = LinkDialer(identity: nil, random: random)
        let target = LinkTarget(
            network: network,
            relay: relay.id,
            address: address,
            publicKey: relay.circuitKey
        )
        let begin = MonotonicClock.now()
        guard dialer.dial(target, as: LinkID(rawValue: 1), now: begin) else { return nil }
        var sent = begin
        var trip: TimeSpan?
        while true {
            while let step = dialer.nextStep() {
                switch step {
                case .job(let job): dialer.finish(job.run(), now: MonotonicClock.now())
                case .send(let datagram, _):
                    sent = MonotonicClock.now()
                    guard socket.send(datagram) else { return nil }
                case .established(let link):
                    return Exchange(trip: trip ?? .zero, seen: link.seenAddress)
                case .failed: return nil
                case .sendControl, .renewed: break
                }
            }
            let now = MonotonicClock.now()
            guard now < begin + Self.limit else { return nil }
            let next = min(dialer.nextDeadline, begin + Self.limit)
            let wait = next > now ? (next - now).nanoseconds / 1_000_000 + 1 : 0
            if let bytes = socket.receive(milliseconds: Int32(clamping: wait)) {
                trip = MonotonicClock.now() - sent
                switch try? HandshakeDatagram(parsing: bytes) {
                case .response(let response): dialer.receive(response, now: MonotonicClock.now())
                case .cookie(let cookie): dialer.receive(cookie, now: MonotonicClock.now())
                case .initiation, nil: break
                }
            }
            dialer.advance(to: MonotonicClock.now())
        }
    }
}
