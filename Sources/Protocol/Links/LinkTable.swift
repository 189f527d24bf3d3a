public import Base
public import CryptoPrimitives
import DequeModule
public import Wire

/// The established links of one shard: sessions, replay windows, roaming, liveness.
///
/// Sans-IO. Hand datagrams to ``open(_:datagram:source:now:)``, cells to
/// ``send(_:datagram:link:header:now:)``, wake it at ``nextDeadline``; after each call drain
/// ``output`` and ``nextEvent()`` before the next. `now` never goes back. Not thread-safe: owned by
/// one shard. Bounds: `linkLimit` links, three sessions each; 1,024 links whose peer has not shown
/// that it has the keys; three quarters of the table for clients, ``networkLimit`` for one network.
/// Spec: PROTOCOL.md §B.5 (sessions, liveness), §C.2 (datagram).
public struct LinkTable: ~Copyable {
    /// Times of the link protocol.
    ///
    /// Spec: §B.5.
    public struct Timing: Sendable {
        /// Silence after which the end that opened the link sends a PING.
        public var keepalive: TimeSpan = .seconds(15)
        /// Time of sending and hearing nothing after which PINGs go out.
        public var suspicion: TimeSpan = .seconds(1)
        /// Time between PINGs that go unanswered.
        public var pingInterval: TimeSpan = .milliseconds(300)
        /// Unanswered PINGs after which the link is lost.
        public var pingLimit = 3
        /// Silence after which a link is forgotten.
        public var idleLimit: TimeSpan = .seconds(120)
        /// Time an unconfirmed session waits for its first packet.
        public var confirmLimit: TimeSpan = .seconds(5)
        /// Time a replaced session still receives.
        public var graceLimit: TimeSpan = .seconds(10)
        /// Age at which a session is renewed.
        public var rekeyAge: TimeSpan = .seconds(3600)
        /// Packets sent after which a session is renewed.
        public var rekeyPacketCount: UInt32 = 1 << 31
        /// Time after which a renewal that came to nothing is asked for again.
        public var rekeyRetry: TimeSpan = .seconds(60)
        /// Least time between two rekeys a peer may ask for.
        public var rekeyInterval: TimeSpan = .seconds(1)
        /// Time between two PINGs that ask for the peer's clock.
        public var clockInterval: TimeSpan = .seconds(8)
        /// Packets sent after which a session sends no more.
        public var packetLimit: UInt32 = .max - 8192

        /// The times of the protocol text.
        public init() {}
    }

    /// What became of a datagram.
    public enum Opened: Equatable, Sendable {
        /// Its session number is 0: the control plane looks at it.
        case handshake
        /// A cell on the link in slot `link`; sealed bodies lie open.
        case cell(link: Int, LinkHeader)
        /// It served the link itself.
        case consumed
        /// It was dropped, and counted.
        case dropped(LinkDrop)
    }

    private var sessions: Slab<Session>
    private var links: Slab<Link>
    private var sessionIndex: IndexTable
    private var linkIndex: IndexTable
    private var timers = TimerTable()
    private var events: Deque<LinkEvent> = []
    private var random: RandomGenerator
    private let timing: Timing
    private var unconfirmedCount = 0
    // Standing links of clients, in all and by network.
    private var clientCount = 0
    private var networks: [IPAddress: Int] = [:]
    /// Civil nanoseconds at the origin of the monotonic clock, which PINGs are answered with; `nil`
    /// where this end does not say what its clock shows.
    public var toldClock: UInt64?
    // What the last PONG of a link whose clock is asked for told.
    private var clockReading: ClockReading?
    /// Datagrams ready to leave.
    public var output: DatagramOutput
    /// Datagrams dropped, by ``LinkDrop``.
    public private(set) var drops = [UInt64](repeating: 0, count: LinkDrop.allCases.count)

    /// Makes an empty table.
    ///
    /// - Parameters:
    ///   - generated: region of the arena in which datagrams are made.
    ///   - random: source of nonces and table seeds.
    public init(
        linkLimit: Int,
        generated: Range<Int>,
        timing: Timing = Timing(),
        random: consuming RandomGenerator
    ) {
        var random = random
        sessions = Slab(limit: linkLimit * 3)
        links = Slab(limit: linkLimit)
        sessionIndex = IndexTable(limit: linkLimit * 3, seed: (random.next(), random.next()))
        linkIndex = IndexTable(limit: linkLimit, seed: (random.next(), random.next()))
        self.timing = timing
        self.random = random
        output = DatagramOutput(region: generated)
    }

    /// Datagrams sent for each one received from an address that has not answered a PING yet.
    ///
    /// A client may write any source into a datagram: what it asks for must not hit whoever is there.
    public static let creditPerDatagram = 3

    /// Links whose peer has not shown that it has the keys, of all that may stand.
    public static let unconfirmedLimit = 1024

    /// Standing links that clients of one IPv4 address or IPv6 /64 may have.
    public static let networkLimit = 64

    // MARK: Commands

    /// Adds an established link; false if the table is full or a number is taken.
    ///
    /// An initiator's first PING is due at once, so that the responder sees its keys in use.
    public mutating func add(_ new: NewLink, now: Instant) -> Bool {
        guard !links.isFull, !sessions.isFull,
            new.session.isConfirmed || unconfirmedCount < Self.unconfirmedLimit,
            sessionIndex.value(for: UInt64(new.session.local.rawValue)) == nil,
            linkIndex.value(for: UInt64(new.id.rawValue)) == nil
        else { return false }
        let slot = links.insert(
            Link(
                id: new.id,
                peer: new.peer,
                isInitiator: new.isInitiator,
                address: new.address,
                keepsAlive: new.isInitiator,
                lastReceived: now,
                lastSent: now
            )
        )
        _ = linkIndex.set(UInt64(new.id.rawValue), to: slot)
        let session = insert(new.session, link: slot, now: now)
        if new.session.isConfirmed {
            links[slot].current = session
        } else {
            links[slot].pending = session
            unconfirmedCount += 1
        }
        timers.set(slot, to: nextDeadline(of: slot, now: now))
        return true
    }

    /// Adds the session of a finished rekey.
    ///
    /// - Returns: false if the link is gone, the number is taken, or this very rekey was answered
    ///   before: the first answer stands, since the peer may use it already.
    public mutating func renew(_ id: LinkID, with new: NewSession, now: Instant) -> Bool {
        guard let slot = slot(of: id), !sessions.isFull,
            sessionIndex.value(for: UInt64(new.local.rawValue)) == nil,
            new.isConfirmed || links[slot].rekeyAnswer?.remote != new.remote
        else { return false }
        let session = insert(new, link: slot, now: now)
        if new.isConfirmed {
            replaceCurrent(of: slot, by: session, now: now)
        } else {
            if links[slot].pending >= 0 { removeSession(links[slot].pending) }
            links[slot].pending = session
        }
        timers.set(slot, to: nextDeadline(of: slot, now: now))
        return true
    }

    /// Forgets a link, telling the peer if `saysGoodbye`.
    public mutating func remove(
        _ id: LinkID,
        saysGoodbye: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let slot = slot(of: id) else { return }
        if saysGoodbye { _ = sendControl(.close, link: slot, bytes: &bytes, now: now) }
        removeLink(slot)
    }

    /// Notes that a circuit uses the link in `slot`, so that it never makes room for another.
    public mutating func addCircuit(at slot: Int) {
        links[slot].circuitCount += 1
    }

    /// Notes that a circuit has left the link in `slot`.
    public mutating func removeCircuit(at slot: Int) {
        links[slot].circuitCount -= 1
    }

    /// Circuits on the link in `slot`.
    public func circuitCount(at slot: Int) -> Int {
        links[slot].circuitCount
    }

    /// Whether this end sends PINGs while the link is idle.
    public mutating func setKeepsAlive(_ keepsAlive: Bool, link id: LinkID, now: Instant) {
        guard let slot = slot(of: id) else { return }
        links[slot].keepsAlive = keepsAlive
        timers.set(slot, to: nextDeadline(of: slot, now: now))
    }

    /// The slot of `id` for the packet path; `nil` if the link is gone.
    public func slot(of id: LinkID) -> Int? {
        linkIndex.value(for: UInt64(id.rawValue))
    }

    /// The name of the link in `slot`.
    public func id(at slot: Int) -> LinkID {
        links[slot].id
    }

    /// Who is at the other end of the link in `slot`.
    public func peer(at slot: Int) -> LinkPeer {
        links[slot].peer
    }

    /// Whether this end opened the link in `slot`.
    public func isInitiator(at slot: Int) -> Bool {
        links[slot].isInitiator
    }

    /// Where the peer of the link in `slot` is.
    public func address(at slot: Int) -> SocketAddress {
        links[slot].address
    }

    /// Asks the peer of the link in `slot` every ``Timing/clockInterval`` what its clock shows, or
    /// stops that.
    public mutating func setAsksClock(_ asksClock: Bool, at slot: Int, now: Instant) {
        guard links[slot].asksClock != asksClock else { return }
        links[slot].asksClock = asksClock
        links[slot].clockDue = now
        timers.set(slot, to: nextDeadline(of: slot, now: now))
    }

    /// Takes what a peer's clock showed, if one told since the last call.
    public mutating func takeClockReading() -> ClockReading? {
        guard let reading = clockReading else { return nil }
        clockReading = nil
        return reading
    }

    /// Takes how many PAD datagrams came on the link in `slot` since the last call.
    public mutating func takePaddingCount(at slot: Int) -> Int {
        defer { links[slot].paddingCount = 0 }
        return links[slot].paddingCount
    }

    /// The last measured round trip of `id`; `nil` before the first.
    public func roundTrip(of id: LinkID) -> TimeSpan? {
        slot(of: id).flatMap { links[$0].roundTrip }
    }

    /// How many links there are.
    public var count: Int {
        links.count
    }

    /// Takes the next thing to report.
    public mutating func nextEvent() -> LinkEvent? {
        events.popFirst()
    }

    // MARK: Packets

    /// Authenticates the datagram at `datagram` and opens its header, and its body where sealed.
    public mutating func open(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        source: SocketAddress,
        now: Instant
    ) -> Opened {
        let number: UInt32 = bytes.loadBigEndian(at: datagram + Datagram.sessionOffset)
        guard number != 0 else { return .handshake }
        guard let slot = sessionIndex.value(for: UInt64(number)) else {
            return drop(.unknownSession)
        }
        let sequence: UInt32 = bytes.loadBigEndian(at: datagram + Datagram.sequenceOffset)
        guard sessions[slot].replay.isFresh(UInt64(sequence)) else { return drop(.replayed) }
        let headerStart = datagram + Datagram.headerOffset
        guard
            sessions[slot].receiveHeader.open(
                &bytes,
                text: headerStart..<headerStart + Datagram.headerByteCount,
                tagOffset: datagram + Datagram.headerTagOffset,
                nonce: UInt64(sequence),
                authenticating: datagram..<datagram + Datagram.clearByteCount
            )
        else { return drop(.forged) }
        let parsed = try? LinkHeader(parsing: bytes.bytes, datagram: datagram)
        if let header = parsed, header.command.sealsBody {
            let body = datagram + Datagram.bodyOffset
            guard
                sessions[slot].receiveBody.open(
                    &bytes,
                    text: body..<body + Datagram.sealedBodyCapacity,
                    tagOffset: body + Datagram.sealedBodyCapacity,
                    nonce: UInt64(sequence),
                    authenticating: datagram..<datagram + Datagram.clearByteCount
                )
            else { return drop(.forged) }
        }
        // Only after all of it is authentic: a forger must not move the window, nor use up the
        // number of a datagram whose body it changed.
        let isNewest = sessions[slot].replay.commit(UInt64(sequence))
        guard let header = parsed else { return drop(.malformed) }
        let link = sessions[slot].link
        if links[link].current < 0, !makeRoom(for: link, bytes: &bytes, now: now) {
            lose(link)
            return .consumed
        }
        noteReceived(on: link, session: slot, now: now)
        if links[link].peer == .client, slot == links[link].current {
            follow(link, to: source, isNewest: isNewest, bytes: &bytes, now: now)
        }
        switch header.command {
        case .padding:
            links[link].paddingCount += 1
            return .consumed
        case .linkControl:
            return receiveControl(link: link, datagram: datagram, bytes: &bytes, now: now)
        case .forward, .backward, .create, .created, .destroy:
            return .cell(link: link, header)
        }
    }

    /// Seals the header of the datagram at `datagram`, whose body is ready, and queues it.
    ///
    /// - Returns: false if the link has no session to send under; nothing is queued then.
    public mutating func send(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        link slot: Int,
        header: LinkHeader,
        now: Instant
    ) -> Bool {
        guard let (session, sequence) = takeSequence(link: slot, command: header.command, now: now)
        else { return false }
        sealHeader(&bytes, datagram: datagram, session: session, sequence: sequence, header: header)
        output.append(offset: datagram, link: slot, destination: links[slot].address)
        return true
    }

    /// Makes a datagram whose body is `body`, sealed under the link's body key, and queues it.
    ///
    /// - Precondition: the command seals its body and `body` is at most 1340 bytes.
    /// - Returns: false if the link has no session or the arena's region is full.
    public mutating func sendSealed(
        _ bytes: inout MutableRawSpan,
        link slot: Int,
        header: LinkHeader,
        body: [UInt8],
        now: Instant
    ) -> Bool {
        precondition(header.command.sealsBody && body.count <= Datagram.sealedBodyCapacity)
        guard links[slot].current >= 0, let datagram = output.allocate(),
            let (session, sequence) = takeSequence(link: slot, command: header.command, now: now)
        else { return false }
        let start = datagram + Datagram.bodyOffset
        bytes.copy(body, to: start)
        bytes.zero(start + body.count..<datagram + Datagram.byteCount)
        bytes.storeBigEndian(sessions[session].remote.rawValue, at: datagram)
        bytes.storeBigEndian(sequence, at: datagram + Datagram.sequenceOffset)
        sessions[session].sendBody.seal(
            &bytes,
            text: start..<start + Datagram.sealedBodyCapacity,
            tagOffset: start + Datagram.sealedBodyCapacity,
            nonce: UInt64(sequence),
            authenticating: datagram..<datagram + Datagram.clearByteCount
        )
        sealHeader(&bytes, datagram: datagram, session: session, sequence: sequence, header: header)
        output.append(offset: datagram, link: slot, destination: links[slot].address)
        return true
    }

    /// Queues a control message for the peer of `link`.
    public mutating func sendControl(
        _ message: LinkControlMessage,
        link slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        sendSealed(
            &bytes,
            link: slot,
            header: LinkHeader(circuit: CircuitNumber(rawValue: 0), command: .linkControl),
            body: settled(message, link: slot).encoded,
            now: now
        )
    }

    /// Queues a handshake datagram, which belongs to no link.
    public mutating func sendHandshake(
        _ datagram: [UInt8],
        to destination: SocketAddress,
        bytes: inout MutableRawSpan
    ) -> Bool {
        precondition(datagram.count == Datagram.byteCount, "datagram of another size")
        guard let offset = output.allocate() else { return false }
        bytes.copy(datagram, to: offset)
        output.append(offset: offset, destination: destination)
        return true
    }

    /// Counts bytes that are no datagram of 1392.
    public mutating func noteWrongSize() {
        drops[LinkDrop.size.rawValue] += 1
    }

    // MARK: Time

    /// When ``advance(to:bytes:)`` has something to do.
    public var nextDeadline: Instant {
        timers.nextDeadline
    }

    /// Sends PINGs that are due and drops links and sessions whose time is over.
    public mutating func advance(to now: Instant, bytes: inout MutableRawSpan) {
        while let slot = timers.popDue(now: now) {
            guard links.contains(slot) else { continue }
            tend(slot, bytes: &bytes, now: now)
        }
    }

    // MARK: Private

    private mutating func drop(_ reason: LinkDrop) -> Opened {
        drops[reason.rawValue] += 1
        return .dropped(reason)
    }

    private mutating func insert(_ new: NewSession, link: Int, now: Instant) -> Int {
        let slot = sessions.insert(Session(new, link: link, now: now, timing: timing))
        _ = sessionIndex.set(UInt64(new.local.rawValue), to: slot)
        return slot
    }

    private mutating func removeSession(_ slot: Int) {
        let session = sessions.remove(at: slot)
        sessionIndex.remove(UInt64(session.local.rawValue))
    }

    private mutating func removeLink(_ slot: Int) {
        let link = links.remove(at: slot)
        if link.current < 0 { unconfirmedCount -= 1 }
        if let network = link.network {
            clientCount -= 1
            let count = networks[network, default: 1]
            networks[network] = count > 1 ? count - 1 : nil
        }
        linkIndex.remove(UInt64(link.id.rawValue))
        timers.cancel(slot)
        for session in [link.current, link.previous, link.pending] where session >= 0 {
            removeSession(session)
        }
    }

    private mutating func replaceCurrent(of slot: Int, by session: Int, now: Instant) {
        if links[slot].previous >= 0 { removeSession(links[slot].previous) }
        links[slot].previous = links[slot].current
        if links[slot].previous >= 0 {
            sessions[links[slot].previous].expires = now + timing.graceLimit
        }
        links[slot].current = session
        sessions[session].isConfirmed = true
        sessions[session].expires = .distantFuture
    }

    private mutating func noteReceived(
        on link: Int,
        session: Int,
        now: Instant
    ) {
        links[link].lastReceived = now
        links[link].unansweredSince = nil
        links[link].pingCount = 0
        sessions[session].isHeard = true
        if !sessions[session].isConfirmed {
            let isFirst = links[link].current < 0
            if isFirst { unconfirmedCount -= 1 }
            links[link].pending = -1
            replaceCurrent(of: link, by: session, now: now)
            timers.set(link, to: nextDeadline(of: link, now: now))
            if isFirst { events.append(.confirmed(links[link].id)) }
        }
    }

    /// Counts a client's link that is about to stand; false where there is no place for it.
    ///
    /// Where its network has its share, or clients have theirs, the link idle longest that carries
    /// no circuit makes room. Relays are no strangers, and there are not many.
    private mutating func makeRoom(
        for link: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        guard links[link].peer == .client, !links[link].isInitiator else { return true }
        let network = links[link].address.ip.network
        if networks[network, default: 0] >= Self.networkLimit {
            guard evict(from: network, bytes: &bytes, now: now) else { return false }
        } else if clientCount >= links.limit - links.limit / 4 {
            guard evict(from: nil, bytes: &bytes, now: now) else { return false }
        }
        links[link].network = network
        clientCount += 1
        networks[network, default: 0] += 1
        return true
    }

    /// Drops the client's link idle longest that carries no circuit, of `network` where there is
    /// one; false where every link carries some.
    private mutating func evict(
        from network: IPAddress?,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        var oldest: Int?
        for slot in 0..<links.endIndex where links.contains(slot) {
            guard let own = links[slot].network, network == nil || own == network,
                links[slot].circuitCount == 0
            else { continue }
            if let oldest, links[oldest].lastReceived <= links[slot].lastReceived { continue }
            oldest = slot
        }
        guard let oldest else { return false }
        _ = sendControl(.close, link: oldest, bytes: &bytes, now: now)
        lose(oldest)
        return true
    }

    /// Follows a client to `source`, and asks there whether it is.
    private mutating func follow(
        _ link: Int,
        to source: SocketAddress,
        isNewest: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        if source == links[link].address {
            if let credit = links[link].credit {
                links[link].credit = credit + Self.creditPerDatagram
            }
        } else if isNewest {
            links[link].address = source
            links[link].credit = Self.creditPerDatagram
            // A nonce of its own: what was sent elsewhere proves nothing here.
            links[link].pingNonce = random.next()
            events.append(.roamed(links[link].id, source))
            _ = ping(link, bytes: &bytes, now: now)
            timers.set(link, to: nextDeadline(of: link, now: now))
        }
    }

    private mutating func receiveControl(
        link: Int,
        datagram: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Opened {
        let body = datagram + Datagram.bodyOffset
        let content = bytes.bytes.copyBytes(body..<body + Datagram.sealedBodyCapacity)
        guard let message = try? LinkControlMessage(parsing: content) else {
            return drop(.malformed)
        }
        switch message {
        case .ping(let nonce):
            let time = toldClock.map { ($0 &+ now.nanoseconds) / 1_000 } ?? 0
            let answer = LinkControlMessage.pong(nonce: nonce, time: time)
            _ = sendControl(answer, link: link, bytes: &bytes, now: now)
            // An answer asks for none: it must not start this end's own suspicion.
            links[link].unansweredSince = nil
        case .pong(let nonce, let time):
            if let sent = links[link].lastPing, nonce == links[link].pingNonce {
                links[link].roundTrip = now - sent
                links[link].credit = nil
                if links[link].asksClock, time > 0 {
                    clockReading = ClockReading(
                        link: link,
                        sent: sent,
                        received: now,
                        microseconds: time
                    )
                }
            }
        case .close:
            events.append(.lost(links[link].id))
            removeLink(link)
        case .rekey(let session, _):
            // Keys are renewed by the end that opened the link, and not in a flood.
            guard !links[link].isInitiator else { return drop(.malformed) }
            if let answer = links[link].rekeyAnswer, answer.remote == session {
                _ = sendControl(answer.message, link: link, bytes: &bytes, now: now)
                break
            }
            if let asked = links[link].rekeyAsked, now - asked < timing.rekeyInterval { break }
            links[link].rekeyAsked = now
            events.append(.control(links[link].id, message))
        case .rekeyed:
            guard links[link].isInitiator else { return drop(.malformed) }
            events.append(.control(links[link].id, message))
        }
        return .consumed
    }

    /// What to send in place of `message`; answers to a rekey are kept for its repetitions.
    private mutating func settled(
        _ message: LinkControlMessage,
        link slot: Int
    ) -> LinkControlMessage {
        guard case .rekeyed(_, let remote, _) = message else { return message }
        if let answer = links[slot].rekeyAnswer, answer.remote == remote { return answer.message }
        links[slot].rekeyAnswer = RekeyAnswer(remote: remote, message: message)
        return message
    }

    private mutating func takeSequence(
        link slot: Int,
        command: CellCommand,
        now: Instant
    ) -> (session: Int, sequence: UInt32)? {
        let session = links[slot].current
        guard session >= 0, sessions[session].nextSequence < timing.packetLimit else { return nil }
        if let credit = links[slot].credit {
            // The last one is kept for the PING that may end the question.
            guard credit > (command == .linkControl ? 0 : 1) else { return nil }
            links[slot].credit = credit - 1
        }
        let sequence = sessions[session].nextSequence
        sessions[session].nextSequence = sequence + 1
        if sequence + 1 == timing.rekeyPacketCount || sequence + 1 == timing.packetLimit {
            timers.set(slot, to: now)
        }
        links[slot].lastSent = now
        if links[slot].unansweredSince == nil {
            links[slot].unansweredSince = now
            timers.set(slot, noLaterThan: now + timing.suspicion)
        }
        return (session, sequence)
    }

    private mutating func sealHeader(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        session: Int,
        sequence: UInt32,
        header: LinkHeader
    ) {
        bytes.storeBigEndian(sessions[session].remote.rawValue, at: datagram)
        bytes.storeBigEndian(sequence, at: datagram + Datagram.sequenceOffset)
        header.store(to: &bytes, datagram: datagram)
        let start = datagram + Datagram.headerOffset
        sessions[session].sendHeader.seal(
            &bytes,
            text: start..<start + Datagram.headerByteCount,
            tagOffset: datagram + Datagram.headerTagOffset,
            nonce: UInt64(sequence),
            authenticating: datagram..<datagram + Datagram.clearByteCount
        )
    }

    private mutating func tend(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
        let previous = links[slot].previous
        if previous >= 0, sessions[previous].expires <= now {
            links[slot].previous = -1
            removeSession(previous)
        }
        let pending = links[slot].pending
        if pending >= 0, sessions[pending].expires <= now {
            links[slot].pending = -1
            removeSession(pending)
        }
        guard !isOver(slot, now: now) else { return lose(slot) }
        let current = links[slot].current
        if isSuspicious(slot, now: now) {
            guard links[slot].pingCount < timing.pingLimit else { return lose(slot) }
            if ping(slot, bytes: &bytes, now: now) { links[slot].pingCount += 1 }
        } else if let due = idlePingDue(of: slot), due <= now {
            _ = ping(slot, bytes: &bytes, now: now)
        }
        if current >= 0, links[slot].isInitiator, isOld(current, now: now) {
            sessions[current].renewalDue = now + timing.rekeyRetry
            events.append(.rekeyDue(links[slot].id))
        }
        timers.set(slot, to: nextDeadline(of: slot, now: now))
    }

    /// Whether a link has come to its end: nothing to send under, or a peer that is gone.
    private func isOver(_ slot: Int, now: Instant) -> Bool {
        let current = links[slot].current
        if now - links[slot].lastReceived >= timing.idleLimit { return true }
        if links[slot].pending >= 0 { return false }
        guard current >= 0 else { return true }
        if sessions[current].nextSequence >= timing.packetLimit { return true }
        return !sessions[current].isHeard && now - sessions[current].created >= timing.confirmLimit
    }

    /// Whether the peer owes a sign of life, and the next PING or the end is due.
    private func isSuspicious(_ slot: Int, now: Instant) -> Bool {
        guard let since = links[slot].unansweredSince, now - since >= timing.suspicion else {
            return false
        }
        guard links[slot].pingCount > 0, let lastPing = links[slot].lastPing else { return true }
        return now - lastPing >= timing.pingInterval
    }

    /// When a PING is due that raises no suspicion: to keep the link, to show new keys in use, or to
    /// learn whether the peer is at its new address.
    private func idlePingDue(of slot: Int) -> Instant? {
        let current = links[slot].current
        guard current >= 0 else { return nil }
        if let credit = links[slot].credit, credit > 0, let lastPing = links[slot].lastPing {
            return lastPing + timing.pingInterval
        }
        if !sessions[current].isHeard {
            // `.zero`: at once, where there was none since these keys came.
            guard let lastPing = links[slot].lastPing, lastPing >= sessions[current].created,
                sessions[current].nextSequence > 0
            else { return .zero }
            return lastPing + timing.pingInterval
        }
        if links[slot].asksClock { return links[slot].clockDue }
        return links[slot].keepsAlive ? links[slot].lastSent + timing.keepalive : nil
    }

    /// Whether the keys of `session` should be renewed now.
    private func isOld(_ session: Int, now: Instant) -> Bool {
        if now >= sessions[session].renewalDue { return true }
        // Once asked for by count, `renewalDue` tells when to ask again.
        guard sessions[session].renewalDue == sessions[session].created + timing.rekeyAge else {
            return false
        }
        let received = sessions[session].replay.newestCounter ?? 0
        return max(UInt64(sessions[session].nextSequence), received)
            >= UInt64(timing.rekeyPacketCount)
    }

    private mutating func lose(_ slot: Int) {
        events.append(.lost(links[slot].id))
        removeLink(slot)
    }

    /// Sends a PING; false where it did not fit what is to be sent and comes to nothing.
    private mutating func ping(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) -> Bool {
        guard output.remainingCapacity > 0 else { return false }
        if links[slot].credit == nil { links[slot].pingNonce = random.next() }
        links[slot].lastPing = now
        links[slot].clockDue = now + timing.clockInterval
        let nonce = links[slot].pingNonce
        _ = sendControl(.ping(nonce: nonce), link: slot, bytes: &bytes, now: now)
        return true
    }

    private func nextDeadline(of slot: Int, now: Instant) -> Instant {
        var deadline = links[slot].lastReceived + timing.idleLimit
        if let due = idlePingDue(of: slot) { deadline = min(deadline, due) }
        if let since = links[slot].unansweredSince {
            let suspicious = since + timing.suspicion
            if links[slot].pingCount > 0, let lastPing = links[slot].lastPing {
                deadline = min(deadline, max(suspicious, lastPing + timing.pingInterval))
            } else {
                deadline = min(deadline, suspicious)
            }
        }
        for session in [links[slot].previous, links[slot].pending] where session >= 0 {
            deadline = min(deadline, sessions[session].expires)
        }
        let current = links[slot].current
        if current >= 0 {
            if links[slot].isInitiator { deadline = min(deadline, sessions[current].renewalDue) }
            if !sessions[current].isHeard {
                deadline = min(deadline, sessions[current].created + timing.confirmLimit)
            }
        }
        // A deadline that has passed is tended at the next wake-up, never in a loop without end.
        return max(deadline, now + .milliseconds(1))
    }
}
