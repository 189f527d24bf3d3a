import Base
import Circuits
import CryptoPrimitives
import Links
import Onion
import Wire

/// Somebody who opens circuits of one hop at a relay over real sockets, and leaves them.
///
/// Links, key work and answers are real; of a circuit nothing is kept but that it was answered.
/// All of it lies at one address. Not thread-safe.
final class IdleLoad {
    /// Links one address may have at a relay.
    static let linkLimit = LinkTable.networkLimit
    /// CREATEs a second a relay takes over a client's link, and how many at once.
    private static let createRate: UInt64 = 4
    private static let createBurst: UInt64 = 8
    private static let patience: TimeSpan = .seconds(3)
    private static let tryLimit = 5

    private struct Pending {
        var link: LinkID
        var body: [UInt8]
        var due: Instant
        var tries = 1
    }

    private struct Share {
        let id: LinkID
        var left: Int
        var budget: TokenBucket
        var stands = false
    }

    private let hop: HopTarget
    private let target: LinkTarget
    private let socket: LoopbackSocket
    private var dialer: LinkDialer
    private var links: LinkTable
    private var shares: [Share] = []
    private var pending: [CircuitNumber: Pending] = [:]
    private var nextNumber: UInt32 = 1
    private var random: RandomGenerator
    private var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
    /// Circuits the relay has answered.
    private(set) var openCount = 0
    /// CREATEs the relay refused; they are sent again.
    private(set) var refusedCount = 0

    /// Will open `count` circuits over `linkCount` links from `source`.
    ///
    /// - Throws: ``LabError`` where there is no socket to be had.
    init(
        at relay: LoopbackRelay,
        from source: IPAddress,
        links linkCount: Int,
        circuits count: Int,
        random: consuming RandomGenerator,
        now: Instant
    ) throws(LabError) {
        var random = random
        target = relay.linkTarget
        hop = relay.hopTarget
        socket = try LoopbackSocket(from: source, to: relay.address)
        dialer = LinkDialer(identity: nil, random: random.split())
        links = LinkTable(
            linkLimit: Self.linkLimit,
            generated: ArenaLayout.generated,
            random: random.split()
        )
        self.random = random
        for index in 0..<linkCount {
            let id = LinkID(rawValue: UInt64(index + 1))
            let left = count / linkCount + (index < count % linkCount ? 1 : 0)
            let budget = TokenBucket(
                perSecond: Self.createRate,
                burst: Self.createBurst,
                now: now
            )
            shares.append(Share(id: id, left: left, budget: budget))
            _ = dialer.dial(target, as: id, now: now)
        }
    }

    /// Whether all circuits stand.
    var isDone: Bool {
        pending.isEmpty && shares.allSatisfy { $0.left == 0 }
    }

    /// Does what is due: takes answers, sends what may be sent.
    ///
    /// - Throws: ``LabError`` where a link does not come or does not stay, `HandshakeError`.
    func step(now: Instant, minute: UInt32) throws {
        try withArena { bytes in
            while let datagram = socket.receive() {
                guard datagram.count == Datagram.byteCount else { continue }
                bytes.copy(datagram, to: 0)
                receive(&bytes, now: now)
                flush(&bytes)
            }
            dialer.advance(to: now)
            if links.nextDeadline <= now { links.advance(to: now, bytes: &bytes) }
            try dial(&bytes, now: now)
            try create(&bytes, now: now, minute: minute)
            repeatCreates(&bytes, now: now)
            while let event = links.nextEvent() {
                guard case .lost = event else { continue }
                throw LabError("a link to \(target.address) is lost", why: "the relay is silent")
            }
            flush(&bytes)
        }
    }

    /// Waits a little for what comes.
    func wait(milliseconds: Int32) {
        socket.wait(milliseconds: milliseconds)
    }

    private func receive(_ bytes: inout MutableRawSpan, now: Instant) {
        switch links.open(&bytes, datagram: 0, source: target.address, now: now) {
        case .consumed, .dropped: return
        case .handshake:
            let whole = bytes.bytes.copyBytes(0..<Datagram.byteCount)
            switch try? HandshakeDatagram(parsing: whole) {
            case .response(let response): dialer.receive(response, now: now)
            case .cookie(let cookie): dialer.receive(cookie, now: now)
            case .initiation, nil: return
            }
        case .cell(_, let header):
            guard let known = pending[header.circuit] else { return }
            switch header.command {
            case .created:
                pending[header.circuit] = nil
                openCount += 1
            case .destroy:
                pending[header.circuit] = nil
                refusedCount += 1
                guard let index = shares.firstIndex(where: { $0.id == known.link }) else { return }
                shares[index].left += 1
            default: return
            }
        }
    }

    private func dial(_ bytes: inout MutableRawSpan, now: Instant) throws {
        while let step = dialer.nextStep() {
            switch step {
            case .job(let job): dialer.finish(job.run(), now: now)
            case .send(let datagram, let destination):
                _ = links.sendHandshake(datagram, to: destination, bytes: &bytes)
            case .established(let link):
                guard links.add(link, now: now),
                    let index = shares.firstIndex(where: { $0.id == link.id })
                else { continue }
                links.setKeepsAlive(true, link: link.id, now: now)
                shares[index].stands = true
            case .sendControl, .renewed: continue
            case .failed:
                throw LabError("no link to \(target.address)", why: "the relay does not answer")
            }
            flush(&bytes)
        }
    }

    private func create(_ bytes: inout MutableRawSpan, now: Instant, minute: UInt32) throws {
        for index in shares.indices where shares[index].stands {
            while shares[index].left > 0, shares[index].budget.take(now: now) {
                let work = BuildWork(targets: [hop, hop, hop], minute: minute, random: &random)
                let number = CircuitNumber(rawValue: nextNumber | 1 << 31)
                nextNumber += 1
                let body = try work.run()[0].body.encoded
                pending[number] = Pending(
                    link: shares[index].id,
                    body: body,
                    due: now + Self.patience
                )
                shares[index].left -= 1
                send(body, number, over: shares[index].id, &bytes, now: now)
                flush(&bytes)
            }
        }
    }

    private func repeatCreates(_ bytes: inout MutableRawSpan, now: Instant) {
        for (number, waiting) in pending where waiting.due <= now && waiting.tries < Self.tryLimit {
            pending[number]?.tries += 1
            pending[number]?.due = now + Self.patience
            send(waiting.body, number, over: waiting.link, &bytes, now: now)
            flush(&bytes)
        }
    }

    private func send(
        _ body: [UInt8],
        _ number: CircuitNumber,
        over link: LinkID,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let slot = links.slot(of: link) else { return }
        let header = LinkHeader(circuit: number, command: .create)
        _ = links.sendSealed(&bytes, link: slot, header: header, body: body, now: now)
    }

    private func flush(_ bytes: inout MutableRawSpan) {
        links.output.makeTrains()
        for offset in links.output.trains.offsets {
            let start = Int(offset)
            socket.send(bytes.bytes.copyBytes(start..<start + Datagram.byteCount)[...])
        }
        links.output.clear()
    }

    private func withArena(_ body: (inout MutableRawSpan) throws -> Void) rethrows {
        // Out of the load while it is lent.
        var memory: [UInt8] = []
        swap(&memory, &self.memory)
        defer { swap(&memory, &self.memory) }
        var elements = memory.mutableSpan
        var bytes = unsafe elements.mutableBytes
        try body(&bytes)
    }
}
