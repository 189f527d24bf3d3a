import Base
import Circuits
import CryptoPrimitives
import DequeModule
import Directory
import Flows
import Links
import Onion
import Tickets
import Wire

// Links to neighbours: answered, opened, renewed and lost.
extension RelayControl {
    mutating func receive(_ event: LinkEvent, now: Instant) {
        switch event {
        case .confirmed(let id):
            guard let link = links[id] else { return }
            counters.links += 1
            settle(id)
            if let neighbour = link.neighbour { relayLinks[neighbour] = id }
        case .lost(let id):
            lose(id, now: now)
        case .rekeyDue(let id):
            guard let neighbour = links[id]?.neighbour, let target = linkTarget(neighbour.relay)
            else { return }
            dialer.renew(id, target: target, shard: neighbour.shard, now: now)
        case .control(let id, .rekey(let session, let body)):
            guard links[id] != nil, let work = responder.rekeyWork(body, random: &random) else {
                return
            }
            jobs.append(.respond(.rekey(id, session), work))
        case .control(_, .rekeyed(let session, let initiatorSession, let body)):
            dialer.receiveRekeyed(session: session, initiatorSession: initiatorSession, body: body)
        case .control, .roamed:
            break
        }
    }

    mutating func receiveHandshake(
        _ bytes: [UInt8],
        source: SocketAddress,
        now: Instant
    ) {
        guard let datagram = try? HandshakeDatagram(parsing: bytes) else { return }
        switch datagram {
        case .initiation(let initiation):
            switch responder.admit(initiation, source: source, random: &random, now: now) {
            case .silence: break
            case .answer(let answer): tell(.sendHandshake(answer, to: source), to: 0)
            case .work(let work): jobs.append(.respond(.initiation(initiation, source), work))
            }
        case .response(let response): dialer.receive(response, now: now)
        case .cookie(let cookie): dialer.receive(cookie, now: now)
        }
    }

    mutating func finishResponse(
        _ request: RelayJob.LinkRequest,
        _ result: Result<ResponseWork.Result, HandshakeError>,
        now: Instant
    ) {
        responder.workEnded()
        guard case .success(let answer) = result else { return }
        switch request {
        case .initiation(let initiation, let source):
            let id = drawLink()
            let (peer, address) = listed(answer.peer, at: source)
            let shard = shard(for: peer)
            let local = random.session(of: shard, count: shardCount)
            links[id] = LinkState(
                peer: peer,
                shard: shard,
                isInitiator: false,
                source: peer == .client ? source.ip : nil,
                creates: createBudget(for: peer, now: now)
            )
            let session = NewSession(
                local: local,
                remote: initiation.session,
                keys: answer.keys,
                isConfirmed: false
            )
            tell(
                .addLink(
                    NewLink(
                        id: id,
                        address: address,
                        peer: peer,
                        isInitiator: false,
                        session: session
                    )
                ),
                to: shard
            )
            let datagram = responder.answered(
                answer,
                initiation: initiation,
                session: local,
                source: source,
                random: &random,
                now: now
            )
            tell(.sendHandshake(datagram, to: source), to: shard)
        case .rekey(let id, let remote):
            guard let link = links[id] else { return }
            let local = random.session(of: link.shard, count: shardCount)
            let session = NewSession(
                local: local,
                remote: remote,
                keys: answer.keys,
                isConfirmed: false
            )
            tell(.renewLink(id, session), to: id)
            let message = LinkControlMessage.rekeyed(
                session: local,
                initiatorSession: remote,
                body: answer.answer
            )
            tell(.sendLinkControl(id, message), to: id)
        }
    }

    /// The shard a link that this end answers will belong to: one that has none to that relay yet,
    /// and in turn otherwise.
    private mutating func shard(for peer: LinkPeer) -> Int {
        nextShard = (nextShard + 1) % shardCount
        guard case .relay(let relay) = peer else { return nextShard }
        for step in 0..<shardCount {
            let shard = (nextShard + step) % shardCount
            if relayLinks[Neighbour(relay: relay, shard: shard)] == nil { return shard }
        }
        return nextShard
    }

    /// Who opened a link, and where it is: a relay is one that the consensus lists, and is where
    /// the consensus says; anybody else with a key is a client like all others.
    private func listed(_ peer: LinkPeer, at source: SocketAddress) -> (LinkPeer, SocketAddress) {
        guard case .relay(let relay) = peer, let record = view?.relay(relay) else {
            return (.client, source)
        }
        let address = source.ip.isV4 ? record.addresses.v4 : record.addresses.v6
        return (peer, address ?? source)
    }

    mutating func drainDialer(now: Instant) {
        while let step = dialer.nextStep() {
            switch step {
            case .job(let job):
                jobs.append(.dialer(job))
            case .send(let datagram, let destination):
                tell(.sendHandshake(datagram, to: destination), to: 0)
            case .sendControl(let id, let message):
                tell(.sendLinkControl(id, message), to: id)
            case .renewed(let id, let session):
                tell(.renewLink(id, session), to: id)
            case .established(let link):
                establish(link, now: now)
            case .failed(let id, _):
                guard let neighbour = dialingEnded(id) else { continue }
                for circuit in waitingForLink.removeValue(forKey: neighbour) ?? [] {
                    failExtend(circuit, .unreachable, now: now)
                }
            }
        }
    }

    private mutating func dialingEnded(_ id: LinkID) -> Neighbour? {
        guard let neighbour = dialed.removeValue(forKey: id) else { return nil }
        if dialing[neighbour] == id { dialing[neighbour] = nil }
        return neighbour
    }

    private mutating func establish(_ link: NewLink, now: Instant) {
        guard let neighbour = dialingEnded(link.id) else { return }
        counters.links += 1
        links[link.id] = LinkState(
            peer: link.peer,
            shard: neighbour.shard,
            isInitiator: true,
            creates: createBudget(for: link.peer, now: now),
            stands: true
        )
        tell(.addLink(link), to: link.id)
        // The newest stands: of crossed initiations either does, and a relay that was started again
        // knows nothing of the older one.
        relayLinks[neighbour] = link.id
        for circuit in waitingForLink.removeValue(forKey: neighbour) ?? [] {
            beginExtend(circuit, over: link.id, now: now)
        }
    }

    /// Notes that a link that this end answered is no stranger's any more.
    private mutating func settle(_ id: LinkID) {
        guard links[id]?.stands == false else { return }
        links[id]?.stands = true
        responder.linkSettled()
    }

    private mutating func lose(_ id: LinkID, now: Instant) {
        settle(id)
        guard let link = links.removeValue(forKey: id) else { return }
        if let neighbour = link.neighbour, relayLinks[neighbour] == id {
            relayLinks[neighbour] =
                links.filter { $0.value.neighbour == neighbour && $0.value.stands }.keys
                .max { $0.rawValue < $1.rawValue }
        }
        for circuit in link.circuits.sorted() {
            guard let state = circuits[circuit] else { continue }
            if state.previous.link == id {
                if let next = state.next { sendDestroy(next, .linkLost) }
            } else {
                sendDestroy(state.previous, .linkLost)
            }
            tell(.removeCircuit(circuit), to: circuit)
            forget(circuit, now: now)
        }
    }

    func linkTarget(_ relay: NodeID) -> LinkTarget? {
        guard let record = view?.relay(relay), let address = families.address(of: record) else {
            return nil
        }
        return LinkTarget(
            network: identity.network,
            relay: relay,
            address: address,
            publicKey: record.circuitKey
        )
    }

    private func createBudget(for peer: LinkPeer, now: Instant) -> TokenBucket {
        switch peer {
        case .client: TokenBucket(perSecond: 4, burst: 12, now: now)
        case .relay: TokenBucket(perSecond: 50, burst: 200, now: now)
        }
    }
}
