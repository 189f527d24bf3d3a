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
    private struct Exchange {
        var trip: TimeSpan
        var mtu: Int?
    }

    /// Asks on a thread of its own, with whole datagrams first, then with such as may be cut.
    func run() async -> NetworkReport.Guard {
        await withCheckedContinuation { continuation in
            let once = Once(continuation)
            do throws(IOError) {
                _ = try LoopThread.start(name: "umbel-netcheck") { once.resume(self.ask()) }
            } catch {
                once.resume(nil)
            }
        } ?? report(nil, isWhole: nil)
    }

    private func ask() -> NetworkReport.Guard {
        if let exchange = exchange(isWhole: true) { return report(exchange, isWhole: true) }
        let exchange = exchange(isWhole: false)
        return report(exchange, isWhole: exchange == nil ? nil : false)
    }

    private func report(_ exchange: Exchange?, isWhole: Bool?) -> NetworkReport.Guard {
        NetworkReport.Guard(
            nickname: relay.nickname,
            id: relay.id.rawValue.hex,
            address: "\(address)",
            roundTrip: exchange?.trip.milliseconds,
            isWhole: isWhole,
            mtu: exchange?.mtu
        )
    }

    private func exchange(isWhole: Bool) -> Exchange? {
        guard let random = try? RandomGenerator.seeded(),
            let socket = ProbeSocket(to: address, isWhole: isWhole)
        else { return nil }
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
                case .established: return Exchange(trip: trip ?? .zero, mtu: socket.mtu)
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

/// A UDP socket with our mark that speaks to one address only.
private final class ProbeSocket {
    private let descriptor: Int32
    private let isV4: Bool

    // Of the kernel's headers, which Glibc does not show in Swift.
    private static let markOption: Int32 = 36
    private static let discoverV4: Int32 = 10
    private static let discoverV6: Int32 = 23
    private static let mtuV4: Int32 = 14
    private static let mtuV6: Int32 = 24
    private static let never: Int32 = 0
    private static let always: Int32 = 2

    /// Makes it; `nil` where there is no way to `peer`, or no right to the mark.
    ///
    /// - Parameter isWhole: whether datagrams must not be cut on the way.
    init?(to peer: SocketAddress, isWhole: Bool) {
        isV4 = peer.ip.isV4
        let type = Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC | O_NONBLOCK
        descriptor = socket(isV4 ? AF_INET : AF_INET6, type, 0)
        guard descriptor >= 0 else { return nil }
        let isReady =
            set(SOL_SOCKET, Self.markOption, Int32(TunnelAddresses.mark))
            && set(
                isV4 ? Int32(IPPROTO_IP) : Int32(IPPROTO_IPV6),
                isV4 ? Self.discoverV4 : Self.discoverV6,
                isWhole ? Self.always : Self.never
            )
            && connect(to: peer)
        guard isReady else { return nil }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Sends one datagram; false where the kernel refuses it.
    func send(_ bytes: [UInt8]) -> Bool {
        unsafe Glibc.send(descriptor, bytes, bytes.count, 0) == bytes.count
    }

    /// The next datagram, waited for this long at most; `nil` for none.
    func receive(milliseconds: Int32) -> [UInt8]? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&entry, 1, milliseconds) > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 2_048)
        let count = unsafe recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    /// The largest IP packet the way takes, as far as the kernel knows.
    var mtu: Int? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let level = isV4 ? Int32(IPPROTO_IP) : Int32(IPPROTO_IPV6)
        let option = isV4 ? Self.mtuV4 : Self.mtuV6
        let status = unsafe getsockopt(descriptor, level, option, &value, &length)
        return status == 0 && value > 0 ? Int(value) : nil
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
        var value = value
        return unsafe setsockopt(
            descriptor,
            level,
            option,
            &value,
            socklen_t(MemoryLayout<Int32>.size)
        ) == 0
    }

    private func connect(to peer: SocketAddress) -> Bool {
        if let v4 = peer.ip.v4 {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = peer.port.bigEndian
            address.sin_addr.s_addr = v4.bigEndian
            return unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
                    return unsafe Glibc.connect(descriptor, pointer, length) == 0
                }
            }
        }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = peer.port.bigEndian
        let bytes = peer.ip.bytes
        unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { target in
            unsafe target.copyBytes(from: bytes)
        }
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                let length = socklen_t(MemoryLayout<sockaddr_in6>.size)
                return unsafe Glibc.connect(descriptor, pointer, length) == 0
            }
        }
    }
}
