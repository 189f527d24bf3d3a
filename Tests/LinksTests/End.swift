import Base
import CryptoPrimitives
import Links
import Onion
import TestSupport
import Wire

/// One node under test: a table of links, and around dialer and responder as little of a control
/// plane as makes links work.
final class End {
    /// A cell that came, with what its link said of it.
    struct Cell: Equatable {
        let link: LinkID
        let header: LinkHeader
        let body: [UInt8]
    }

    /// A datagram on its way.
    struct Outgoing {
        let destination: SocketAddress
        let bytes: [UInt8]
    }

    /// Key work for an initiation that waits, so that the responder is under load.
    struct HeldWork {
        let work: ResponseWork
        let initiation: LinkInitiation
        let source: SocketAddress
    }

    private static let arenaDatagrams = 257

    let network: NetworkID
    let signingKey: Ed25519.SigningKey
    let key: XWing.PrivateKey
    let isRelay: Bool
    var address: SocketAddress
    var table: LinkTable
    var dialer: LinkDialer
    var responder: LinkResponder
    var random: RandomGenerator
    var cells: [Cell] = []
    var events: [LinkEvent] = []
    var established: [LinkID] = []
    var renewed: [LinkID] = []
    var failed: [LinkID] = []
    var verdicts: [LinkTable.Opened] = []
    var holdsWork = false
    var heldWork: [HeldWork] = []
    var runsSolving = true
    var solving: [LinkDialer.Job] = []
    /// Where the relay of the last link that was opened says this end is.
    var seenAddress: SocketAddress?
    var refusesRekeys = false
    var recordsRekeys = false
    var rekeys: [CreateBody] = []
    private var unsettled: Set<LinkID> = []
    private var targets: [LinkID: LinkTarget] = [:]
    private var nextLink: UInt64 = 1
    private var arena = [UInt8](repeating: 0, count: arenaDatagrams * Datagram.byteCount)

    init(
        seed: UInt64,
        network: NetworkID = NetworkID(.zero),
        address: SocketAddress,
        isRelay: Bool,
        timing: LinkTable.Timing = LinkTable.Timing(),
        linkLimit: Int = 64,
        now: Instant
    ) throws {
        var random = RandomGenerator(testSeed: seed)
        self.network = network
        self.address = address
        self.isRelay = isRelay
        signingKey = Ed25519.SigningKey(seed: random.secret(byteCount: 32))
        key = try XWing.PrivateKey(seed: random.secret(byteCount: 32))
        table = LinkTable(
            linkLimit: linkLimit,
            generated: Datagram.byteCount..<Self.arenaDatagrams * Datagram.byteCount,
            timing: timing,
            random: random.split()
        )
        let identity = LinkIdentity(network: network, signingKey: signingKey)
        dialer = LinkDialer(identity: isRelay ? identity : nil, random: random.split())
        responder = LinkResponder(
            network: network,
            relay: NodeID(signingKey.publicKey),
            keys: [key],
            random: &random,
            now: now
        )
        self.random = random
    }

    var relay: NodeID {
        NodeID(signingKey.publicKey)
    }

    /// This end as others dial it.
    var target: LinkTarget {
        LinkTarget(network: network, relay: relay, address: address, publicKey: key.publicKey)
    }

    var nextDeadline: Instant {
        min(table.nextDeadline, dialer.nextDeadline)
    }

    /// Whether there is a link called `id`.
    func has(_ id: LinkID) -> Bool {
        table.slot(of: id) != nil
    }

    /// The slot of `id`.
    func slot(of id: LinkID) -> Int? {
        table.slot(of: id)
    }

    /// Who is at the other end of `id`.
    func peer(of id: LinkID) -> LinkPeer? {
        table.slot(of: id).map { table.peer(at: $0) }
    }

    /// Where the other end of `id` is.
    func peerAddress(of id: LinkID) -> SocketAddress? {
        table.slot(of: id).map { table.address(at: $0) }
    }

    /// The round trip measured on `id`.
    func roundTrip(of id: LinkID) -> TimeSpan? {
        table.roundTrip(of: id)
    }

    // MARK: Commands

    /// Adds a link the test made.
    func add(_ link: NewLink, now: Instant) -> Bool {
        table.add(link, now: now)
    }

    /// Dials `other` and returns the new link's name.
    func dial(_ other: LinkTarget, now: Instant) -> LinkID? {
        let id = drawLink()
        targets[id] = other
        return dialer.dial(other, as: id, now: now) ? id : nil
    }

    /// Dials `other` under a name of the test's choice; false if the dialer takes no more.
    func dial(_ other: LinkTarget, as id: LinkID, now: Instant) -> Bool {
        dialer.dial(other, as: id, now: now)
    }

    /// Sends a cell whose body is `body`; false if the link cannot.
    func send(_ body: [UInt8], header: LinkHeader, link id: LinkID, now: Instant) -> Bool {
        withArena { table, span in
            guard let slot = table.slot(of: id) else { return false }
            if header.command.sealsBody {
                return table.sendSealed(&span, link: slot, header: header, body: body, now: now)
            }
            guard let place = table.output.allocate() else { return false }
            span.zero(place + Datagram.bodyOffset..<place + Datagram.byteCount)
            span.copy(body, to: place + Datagram.bodyOffset)
            return table.send(&span, datagram: place, link: slot, header: header, now: now)
        }
    }

    func send(_ message: LinkControlMessage, link id: LinkID, now: Instant) -> Bool {
        withArena { table, span in
            guard let slot = table.slot(of: id) else { return false }
            return table.sendControl(message, link: slot, bytes: &span, now: now)
        }
    }

    /// Lets a circuit use `id`.
    func addCircuit(on id: LinkID) {
        if let slot = table.slot(of: id) { table.addCircuit(at: slot) }
    }

    func remove(_ id: LinkID, now: Instant) {
        withArena { $0.remove(id, saysGoodbye: true, bytes: &$1, now: now) }
    }

    // MARK: Inputs

    @discardableResult
    func receive(_ bytes: [UInt8], from source: SocketAddress, now: Instant) -> LinkTable.Opened? {
        guard bytes.count == Datagram.byteCount else {
            table.noteWrongSize()
            return nil
        }
        var opened: [UInt8] = []
        let verdict = withArena { table, span in
            span.copy(bytes, to: 0)
            let verdict = table.open(&span, datagram: 0, source: source, now: now)
            opened = span.bytes.copyBytes(0..<Datagram.byteCount)
            return verdict
        }
        verdicts.append(verdict)
        switch verdict {
        case .handshake: receiveHandshake(bytes, from: source, now: now)
        case .cell(let link, let header):
            let body = Array(opened[Datagram.bodyOffset...])
            cells.append(Cell(link: table.id(at: link), header: header, body: body))
        case .consumed, .dropped: break
        }
        return verdict
    }

    func advance(to now: Instant) {
        withArena { $0.advance(to: now, bytes: &$1) }
        dialer.advance(to: now)
    }

    /// Runs the key work that was held back.
    func releaseWork(now: Instant) {
        holdsWork = false
        for held in heldWork { answer(held, now: now) }
        heldWork = []
    }

    // MARK: Outputs

    /// Does what follows from the last calls and takes what is to be sent.
    func drain(now: Instant) -> [Outgoing] {
        var isBusy = true
        while isBusy {
            isBusy = false
            while let step = dialer.nextStep() {
                isBusy = true
                perform(step, now: now)
            }
            while let event = table.nextEvent() {
                isBusy = true
                events.append(event)
                handle(event, now: now)
            }
        }
        var outgoing: [Outgoing] = []
        table.output.makeTrains()
        for train in table.output.trains.trains {
            for index in train.range {
                let start = Int(table.output.trains.offsets[index])
                let bytes = Array(arena[start..<start + Datagram.byteCount])
                outgoing.append(Outgoing(destination: train.destination, bytes: bytes))
            }
        }
        table.output.clear()
        return outgoing
    }

    // MARK: Private

    private func drawLink() -> LinkID {
        defer { nextLink += 1 }
        return LinkID(rawValue: nextLink)
    }

    private func drawSession() -> SessionID {
        while true {
            let number = UInt32(truncatingIfNeeded: random.next())
            if let session = SessionID(rawValue: number) { return session }
        }
    }

    private func withArena<R>(_ work: (inout LinkTable, inout MutableRawSpan) -> R) -> R {
        var bytes = arena
        arena = []
        let result: R
        do {
            var elements = bytes.mutableSpan
            var span = elements.mutableBytes
            result = work(&table, &span)
        }
        arena = bytes
        return result
    }

    private func receiveHandshake(_ bytes: [UInt8], from source: SocketAddress, now: Instant) {
        guard let datagram = try? HandshakeDatagram(parsing: bytes) else { return }
        switch datagram {
        case .initiation(let initiation):
            switch responder.admit(initiation, source: source, random: &random, now: now) {
            case .silence: break
            case .answer(let answer): sendHandshake(answer, to: source)
            case .work(let work):
                let held = HeldWork(work: work, initiation: initiation, source: source)
                if holdsWork { heldWork.append(held) } else { answer(held, now: now) }
            }
        case .response(let response): dialer.receive(response, now: now)
        case .cookie(let cookie): dialer.receive(cookie, now: now)
        }
    }

    private func answer(_ held: HeldWork, now: Instant) {
        let result = try? held.work.run()
        responder.workEnded()
        guard let result else { return }
        let session = drawSession()
        let link = NewLink(
            id: drawLink(),
            address: held.source,
            peer: result.peer,
            isInitiator: false,
            session: NewSession(
                local: session,
                remote: held.initiation.session,
                keys: result.keys,
                isConfirmed: false
            )
        )
        let isAdded = table.add(link, now: now)
        if isAdded {
            established.append(link.id)
            unsettled.insert(link.id)
        }
        let datagram = responder.answered(
            result,
            initiation: held.initiation,
            session: session,
            source: held.source,
            random: &random,
            now: now
        )
        if !isAdded { responder.linkSettled() }
        sendHandshake(datagram, to: held.source)
    }

    private func sendHandshake(_ datagram: [UInt8], to destination: SocketAddress) {
        _ = withArena { $0.sendHandshake(datagram, to: destination, bytes: &$1) }
    }

    private func perform(_ step: LinkDialer.Step, now: Instant) {
        switch step {
        case .job(.solve(let id, let work)) where !runsSolving:
            solving.append(.solve(id, work))
        case .job(let job): dialer.finish(job.run(), now: now)
        case .send(let datagram, let destination): sendHandshake(datagram, to: destination)
        case .sendControl(let id, let message): _ = send(message, link: id, now: now)
        case .established(let link):
            if table.add(link, now: now) { established.append(link.id) }
            seenAddress = link.seenAddress
        case .renewed(let id, let session):
            if table.renew(id, with: session, now: now) { renewed.append(id) }
        case .failed(let id, _): failed.append(id)
        }
    }

    private func handle(_ event: LinkEvent, now: Instant) {
        switch event {
        case .confirmed(let id), .lost(let id):
            if unsettled.remove(id) != nil { responder.linkSettled() }
        case .rekeyDue(let id):
            guard let target = targets[id] else { return }
            dialer.renew(id, target: target, now: now)
        case .control(let id, .rekey(let session, let body)):
            if recordsRekeys { rekeys.append(body) }
            guard !refusesRekeys, let work = responder.rekeyWork(body, random: &random) else {
                return
            }
            let result = try? work.run()
            responder.workEnded()
            guard let result else { return }
            let local = drawSession()
            let new = NewSession(
                local: local,
                remote: session,
                keys: result.keys,
                isConfirmed: false
            )
            if table.renew(id, with: new, now: now) { renewed.append(id) }
            let answer = LinkControlMessage.rekeyed(
                session: local,
                initiatorSession: session,
                body: result.answer
            )
            _ = send(answer, link: id, now: now)
        case .control(_, .rekeyed(let session, let initiatorSession, let body)):
            dialer.receiveRekeyed(session: session, initiatorSession: initiatorSession, body: body)
        case .control, .roamed: break
        }
    }
}
