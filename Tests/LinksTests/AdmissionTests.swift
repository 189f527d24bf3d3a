import Base
import CryptoPrimitives
import Onion
import TestSupport
import Testing
import Wire

@testable import Links

/// An attempt to open a link, called from within expectations.
private final class Caller {
    private var initiator: LinkInitiator

    init(_ initiator: LinkInitiator) {
        self.initiator = initiator
    }

    var session: SessionID { initiator.session }
    var handshake: ClientHandshake { initiator.handshake }

    var copy: Caller { Caller(initiator) }

    func accepts(_ response: LinkResponse) -> Bool {
        initiator.accepts(response)
    }

    func next(_ now: Instant) throws -> [UInt8] {
        guard let datagram = initiator.nextDatagram(now: now) else {
            throw WireError.invalid(field: "nothing to send")
        }
        return datagram
    }

    func work(for cookie: LinkCookie) -> CookieWork? {
        initiator.work(for: cookie)
    }

    func resume(cookie: [UInt8], work: UInt64, now: Instant) {
        initiator.resume(cookie: cookie, work: work, now: now)
    }
}

/// A responder and the initiations sent to it, without a network between them.
private final class Gate {
    let network = NetworkID(.zero)
    let relay = NodeID(.zero)
    let key: XWing.PrivateKey
    var responder: LinkResponder
    var now = Instant.zero + .seconds(1000)
    private var drawn: UInt64 = 0

    static let home = SocketAddress(ip: IPAddress(v4: 0x0a00_0001), port: 1111)

    init() throws {
        var random = RandomGenerator(testSeed: 40)
        key = try XWing.PrivateKey(seed: .numbered(41))
        responder = LinkResponder(
            network: network,
            relay: relay,
            keys: [key],
            random: &random,
            now: now
        )
    }

    var target: LinkTarget {
        LinkTarget(
            network: network,
            relay: relay,
            address: SocketAddress(ip: IPAddress(v4: 0x0a00_0002), port: 2222),
            publicKey: key.publicKey
        )
    }

    func number() -> UInt64 {
        drawn += 1
        return drawn
    }

    /// An honest initiator.
    func initiator(identity: LinkIdentity? = nil) throws -> Caller {
        var random = RandomGenerator(testSeed: number())
        let work = InitiationWork(target: target, identity: identity, random: &random)
        let initiator = LinkInitiator(
            target: target,
            session: try #require(SessionID(rawValue: UInt32(number()))),
            handshake: try work.run(),
            random: &random,
            now: now
        )
        return Caller(initiator)
    }

    /// An initiation that costs its sender nothing: mac1 holds, the rest is noise.
    func noise() throws -> [UInt8] {
        var random = RandomGenerator(testSeed: number())
        let body = CreateBody(
            keyID: HandshakeTarget.keyID(of: key.publicKey),
            publicKey: random.bytes32(),
            ciphertext: random.bytes(CreateBody.ciphertextByteCount),
            sealedMessage: random.bytes(144)
        )
        let session = try #require(SessionID(rawValue: UInt32(number())))
        var initiation = LinkInitiation(
            session: session,
            body: body,
            work: 0,
            filler: random.bytes(36)
        )
        initiation.mac1 = Cookie.mac1(over: initiation.encoded, publicKey: key.publicKey)
        return initiation.encoded
    }

    func admit(
        _ bytes: [UInt8],
        from source: SocketAddress = home
    ) throws -> LinkResponder.Admission {
        guard case .initiation(let initiation) = try HandshakeDatagram(parsing: bytes) else {
            throw WireError.invalid(field: "not an initiation")
        }
        var random = RandomGenerator(testSeed: 1_000_000 + number())
        return responder.admit(initiation, source: source, random: &random, now: now)
    }

    /// Admits, works and answers at once; `nil` for silence or a refused work.
    func answer(_ bytes: [UInt8], from source: SocketAddress = home) throws -> [UInt8]? {
        switch try admit(bytes, from: source) {
        case .silence: return nil
        case .answer(let datagram): return datagram
        case .work(let work):
            let result = try? work.run()
            responder.workEnded()
            guard let result,
                case .initiation(let initiation) = try HandshakeDatagram(parsing: bytes)
            else { return nil }
            var random = RandomGenerator(testSeed: 2_000_000 + number())
            return responder.answered(
                result,
                initiation: initiation,
                session: try #require(SessionID(rawValue: UInt32(number()))),
                source: source,
                random: &random,
                now: now
            )
        }
    }

    /// Puts `count` pieces of work into the relay that do not end.
    func load(_ count: Int) throws {
        while responder.inWork < count {
            // Each from a network of its own: the crowd, not one sender.
            let ip = IPAddress(v4: 0x1000_0000 + UInt32(number()))
            let source = SocketAddress(ip: ip, port: 1)
            if responder.inWork < LinkResponder.loadThreshold {
                _ = try admit(noise(), from: source)
                continue
            }
            let body = CreateBody(
                keyID: HandshakeTarget.keyID(of: key.publicKey),
                publicKey: .zero,
                ciphertext: [],
                sealedMessage: []
            )
            var random = RandomGenerator(testSeed: number())
            _ = try #require(responder.rekeyWork(body, random: &random))
        }
    }

    /// The cookie the relay has for `source`.
    func cookie(for source: SocketAddress) throws -> [UInt8] {
        let bytes = try noise()
        guard case .answer(let datagram) = try admit(bytes, from: source),
            case .cookie(let cookie) = try HandshakeDatagram(parsing: datagram),
            case .initiation(let initiation) = try HandshakeDatagram(parsing: bytes)
        else { throw WireError.invalid(field: "not asked for a cookie") }
        return try #require(
            Cookie.open(cookie, publicKey: key.publicKey, mac1: initiation.mac1)
        )
    }

    /// Noise that shows `cookie`.
    func noise(showing cookie: [UInt8]) throws -> [UInt8] {
        let bytes = try noise()
        return Array(bytes.prefix(1376)) + Cookie.mac2(over: bytes, cookie: cookie)
    }
}

extension Gate: CustomReflectable {
    var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// `initiation` with byte `index` changed and mac1 made new, as anyone can who knows the relay.
private func respelled(_ initiation: [UInt8], byte index: Int, publicKey: [UInt8]) -> [UInt8] {
    let changed = initiation.flipping(bit: index * 8)
    let mac1 = Cookie.mac1(over: changed, publicKey: publicKey)
    return Array(changed.prefix(1360)) + mac1 + [UInt8](repeating: 0, count: 16)
}

private func refusal(_ admission: LinkResponder.Admission) -> LinkResponder.Refusal? {
    if case .silence(let refusal) = admission { refusal } else { nil }
}

private func isWork(_ admission: LinkResponder.Admission) -> Bool {
    if case .work = admission { true } else { false }
}

private func cookieAnswer(_ admission: LinkResponder.Admission) throws -> LinkCookie? {
    guard case .answer(let datagram) = admission else { return nil }
    #expect(datagram.count == Datagram.byteCount)
    guard case .cookie(let cookie) = try HandshakeDatagram(parsing: datagram) else { return nil }
    return cookie
}

@Suite("Which initiations are worth key work")
struct AdmissionTests {
    @Test("an honest initiation is answered, and its sender finishes with the answer")
    func honest() throws {
        let gate = try Gate()
        let initiator = try gate.initiator()
        let bytes = try initiator.next(gate.now)
        let answer = try #require(try gate.answer(bytes))
        guard case .response(let response) = try HandshakeDatagram(parsing: answer) else {
            Issue.record("not a response")
            return
        }
        #expect(initiator.accepts(response))
        #expect(throws: Never.self) { try initiator.handshake.finish(response.body) }
        #expect(gate.responder.inWork == 0)
    }

    @Test("row 10: a change anywhere before mac2 gets silence and no key work")
    func mac1() throws {
        let gate = try Gate()
        let initiator = try gate.initiator()
        let bytes = try initiator.next(gate.now)
        for index in 0..<1376 {
            let changed = bytes.flipping(bit: index * 8 + index % 8)
            guard let admission = try? gate.admit(changed) else { continue }
            let refusal = refusal(admission)
            #expect(refusal == .mac || refusal == .unknownKey, "byte \(index)")
        }
        #expect(gate.responder.inWork == 0)
        #expect(try gate.answer(bytes) != nil)
    }

    @Test("an initiation for another relay's key gets silence")
    func otherKey() throws {
        let gate = try Gate()
        let other = try XWing.PrivateKey(seed: .numbered(99))
        var random = RandomGenerator(testSeed: 3)
        let target = LinkTarget(
            network: gate.network,
            relay: gate.relay,
            address: Gate.home,
            publicKey: other.publicKey
        )
        let work = InitiationWork(target: target, identity: nil, random: &random)
        let initiator = Caller(
            LinkInitiator(
                target: target,
                session: try #require(SessionID(rawValue: 5)),
                handshake: try work.run(),
                random: &random,
                now: gate.now
            )
        )
        let bytes = try initiator.next(gate.now)
        #expect(refusal(try gate.admit(bytes)) == .unknownKey)
    }

    @Test("row 9: a repeated initiation gets the same answer back, and no second piece of work")
    func repeated() throws {
        let gate = try Gate()
        let initiator = try gate.initiator()
        let bytes = try initiator.next(gate.now)
        #expect(isWork(try gate.admit(bytes)))
        #expect(refusal(try gate.admit(bytes)) == .replayed)
        gate.responder.workEnded()
        let other = try gate.initiator()
        let next = try other.next(gate.now)
        let answer = try #require(try gate.answer(next))
        for _ in 0..<10 {
            guard case .answer(let again) = try gate.admit(next) else {
                Issue.record("not answered again")
                return
            }
            #expect(again == answer)
        }
        #expect(gate.responder.inWork == 0)
    }

    @Test("row 9: an initiation from elsewhere, late, or respelled gets silence")
    func replayed() throws {
        let gate = try Gate()
        let initiator = try gate.initiator()
        let bytes = try initiator.next(gate.now)
        #expect(try gate.answer(bytes) != nil)
        let strangers = [
            SocketAddress(ip: Gate.home.ip, port: 1112),
            SocketAddress(ip: IPAddress(v4: 0x0a00_0009), port: Gate.home.port),
        ]
        for stranger in strangers {
            #expect(refusal(try gate.admit(bytes, from: stranger)) == .replayed)
        }
        // Reserved bytes, session, sealed message, work, filler: none makes it another handshake.
        for index in [6, 9, 1200, 1318, 1330] {
            let changed = respelled(bytes, byte: index, publicKey: gate.key.publicKey)
            let admission = try gate.admit(changed)
            if index >= LinkInitiation.workByteCount {
                guard case .answer = admission else {
                    Issue.record("a repetition with other filler is one")
                    continue
                }
            } else {
                #expect(refusal(admission) == .replayed, "byte \(index)")
            }
        }
        gate.now = gate.now + .seconds(11)
        // Another answer pushes the old ones out.
        let other = try gate.initiator()
        #expect(try gate.answer(try other.next(gate.now)) != nil)
        #expect(refusal(try gate.admit(bytes)) == .replayed)
        #expect(gate.responder.inWork == 0)
    }

    @Test("a spoilt copy sent ahead does not shut the true initiation out")
    func spoiltAhead() throws {
        let gate = try Gate()
        let initiator = try gate.initiator()
        let bytes = try initiator.next(gate.now)
        let elsewhere = SocketAddress(ip: IPAddress(v4: 0x0a00_0063), port: 9)
        let spoilt = respelled(bytes, byte: 1200, publicKey: gate.key.publicKey)
        #expect(try gate.answer(spoilt, from: elsewhere) == nil)
        #expect(try gate.answer(bytes) != nil)
    }

    @Test("row 11: under load a cookie is asked for, and with it the honest are let in")
    func cookie() throws {
        let gate = try Gate()
        try gate.load(LinkResponder.loadThreshold)
        let initiator = try gate.initiator()
        let first = try initiator.next(gate.now)
        let cookie = try #require(try cookieAnswer(gate.admit(first)))
        #expect(cookie.effort == 0)
        let work = try #require(initiator.work(for: cookie))
        initiator.resume(cookie: work.cookie, work: work.run(), now: gate.now)
        let second = try initiator.next(gate.now)
        // The cookie proves one address and port.
        for stranger in [
            SocketAddress(ip: Gate.home.ip, port: 1112),
            SocketAddress(ip: IPAddress(v4: 0x0a00_0009), port: Gate.home.port),
        ] {
            #expect(try cookieAnswer(gate.admit(second, from: stranger)) != nil)
        }
        #expect(isWork(try gate.admit(second)))
    }

    @Test("links nobody has shown to have the keys of are load, however fast the work is done")
    func unconfirmedLinks() throws {
        let gate = try Gate()
        var answered = 0
        for number in 0..<300 as Range<UInt32> {
            let source = SocketAddress(ip: IPAddress(v4: 0x0b00_0000 + number), port: 1)
            let initiator = try gate.initiator()
            guard let datagram = try gate.answer(try initiator.next(gate.now), from: source),
                case .response = try HandshakeDatagram(parsing: datagram)
            else { continue }
            answered += 1
        }
        #expect(answered == LinkResponder.loadThreshold)
        #expect(gate.responder.inWork == 0)
        let initiator = try gate.initiator()
        let cookie = try #require(
            try cookieAnswer(gate.admit(try initiator.next(gate.now)))
        )
        let work = try #require(initiator.work(for: cookie))
        initiator.resume(cookie: work.cookie, work: work.run(), now: gate.now)
        #expect(isWork(try gate.admit(try initiator.next(gate.now))))
        // Once the links have settled, nobody is asked for anything.
        gate.responder.workEnded()
        for _ in 0..<answered { gate.responder.linkSettled() }
        #expect(isWork(try gate.admit(try gate.noise())))
    }

    @Test("a wrong mac2 is no cookie, and one of an old secret is none either")
    func staleCookie() throws {
        let gate = try Gate()
        try gate.load(LinkResponder.loadThreshold)
        let cookie = try gate.cookie(for: Gate.home)
        let bytes = try gate.noise(showing: cookie)
        for bit in stride(from: 1376 * 8, to: 1392 * 8, by: 5) {
            #expect(try cookieAnswer(gate.admit(bytes.flipping(bit: bit))) != nil)
        }
        gate.now = gate.now + .seconds(130)
        #expect(isWork(try gate.admit(try gate.noise(showing: cookie))))
        gate.now = gate.now + .seconds(130)
        #expect(try cookieAnswer(gate.admit(try gate.noise(showing: cookie))) != nil)
        // After a long silence neither secret is of use any more.
        let late = try gate.cookie(for: Gate.home)
        gate.now = gate.now + .seconds(1000)
        #expect(try cookieAnswer(gate.admit(try gate.noise(showing: late))) != nil)
    }

    @Test("row 11: under more load work is asked for; none, or another initiation's, is refused")
    func work() throws {
        let gate = try Gate()
        try gate.load(LinkResponder.effortThreshold)
        let initiator = try gate.initiator()
        let first = try initiator.next(gate.now)
        let cookie = try #require(try cookieAnswer(gate.admit(first)))
        #expect(cookie.effort == 12)
        let work = try #require(initiator.work(for: cookie))
        let solution = work.run()
        let inner = BLAKE2b.hash(Array(first.prefix(1316)), byteCount: 32)
        #expect(Cookie.isSolved(cookie: work.cookie, inner: inner, work: solution, effort: 12))
        let lazy = initiator.copy
        lazy.resume(cookie: work.cookie, work: 0, now: gate.now)
        let unsolved = try lazy.next(gate.now)
        #expect(try cookieAnswer(gate.admit(unsolved)) != nil)
        // A solution serves the initiation it was found for, no other.
        let other = try gate.initiator()
        _ = try other.next(gate.now)
        other.resume(cookie: work.cookie, work: solution, now: gate.now)
        let borrowed = try other.next(gate.now)
        #expect(try cookieAnswer(gate.admit(borrowed)) != nil)
        initiator.resume(cookie: work.cookie, work: solution, now: gate.now)
        let solved = try initiator.next(gate.now)
        #expect(isWork(try gate.admit(solved)))
    }

    @Test("at 1,024 handshakes in work nothing more is taken, rekeys neither")
    func workLimit() throws {
        let gate = try Gate()
        try gate.load(LinkResponder.effortThreshold)
        let initiator = try gate.initiator()
        let first = try initiator.next(gate.now)
        let cookie = try #require(try cookieAnswer(gate.admit(first)))
        let work = try #require(initiator.work(for: cookie))
        initiator.resume(cookie: work.cookie, work: work.run(), now: gate.now)
        let solved = try initiator.next(gate.now)
        try gate.load(LinkResponder.workLimit)
        #expect(refusal(try gate.admit(solved)) == .busy)
        var random = RandomGenerator(testSeed: 9)
        #expect(gate.responder.rekeyWork(initiator.handshake.body, random: &random) == nil)
        gate.responder.workEnded()
        #expect(isWork(try gate.admit(solved)))
    }

    @Test(
        "row 12: under load each network has its share, and a flood from one leaves the rest alone"
    )
    func networks() throws {
        let gate = try Gate()
        try gate.load(LinkResponder.loadThreshold)
        func flood(_ gate: Gate, _ sources: [SocketAddress]) throws -> Int {
            var taken = 0
            for source in sources {
                let cookie = try gate.cookie(for: source)
                let admission = try gate.admit(try gate.noise(showing: cookie), from: source)
                if isWork(admission) {
                    taken += 1
                    gate.responder.workEnded()
                } else {
                    #expect(refusal(admission) == .limited)
                }
            }
            return taken
        }
        let one = (0..<100 as Range<UInt16>).map {
            SocketAddress(ip: IPAddress(v4: 0x0a00_0050), port: 1000 + $0)
        }
        #expect(try flood(gate, one) == 40)
        let other = SocketAddress(ip: IPAddress(v4: 0x0a00_0051), port: 1)
        #expect(try flood(gate, [other]) == 1)
        let subnet = (0..<100 as Range<UInt64>).map {
            SocketAddress(ip: IPAddress(high: 0x2001_0db8_0000_0001, low: $0 << 32 | 1), port: 1)
        }
        #expect(try flood(gate, subnet) == 40)
        gate.now = gate.now + .seconds(1)
        #expect(try flood(gate, one) == 20)
    }

    @Test("a cookie for another attempt, of too much work, or forged is ignored")
    func foreignCookies() throws {
        let gate = try Gate()
        try gate.load(LinkResponder.loadThreshold)
        let initiator = try gate.initiator()
        let other = try gate.initiator()
        let bytes = try initiator.next(gate.now)
        #expect(try other.next(gate.now) != bytes)
        let cookie = try #require(try cookieAnswer(gate.admit(bytes)))
        #expect(other.work(for: cookie) == nil)
        var redirected = cookie
        redirected.initiatorSession = other.session
        #expect(other.work(for: redirected) == nil)
        var changed = cookie
        changed.effort = 1
        #expect(initiator.work(for: changed) == nil)
        let mac1 = Array(bytes[1360..<1376])
        func forged(_ effort: UInt8) -> LinkCookie {
            LinkCookie(
                initiatorSession: initiator.session,
                effort: effort,
                nonce: [UInt8](repeating: effort, count: 24),
                sealedCookie: Cookie.seal(
                    [UInt8](repeating: 1, count: 16),
                    effort: effort,
                    nonce: [UInt8](repeating: effort, count: 24),
                    publicKey: gate.key.publicKey,
                    mac1: mac1
                ),
                filler: []
            )
        }
        for effort in [23, 40, 255] as [UInt8] {
            #expect(initiator.work(for: forged(effort)) == nil)
        }
        // Whoever sees the INIT can forge cookies: one puzzle at a time, four in all.
        #expect(initiator.work(for: forged(1)) != nil)
        #expect(initiator.work(for: forged(2)) == nil)
        #expect(initiator.work(for: cookie) == nil)
        for round in 2...5 as ClosedRange<UInt8> {
            initiator.resume(cookie: [], work: 0, now: gate.now)
            let next = try initiator.next(gate.now)
            #expect(Array(next[1360..<1376]) == mac1)
            #expect((initiator.work(for: forged(round)) != nil) == (round <= 4))
        }
    }

    @Test("a relay's identity must be signed for this handshake, network and purpose")
    func identity() throws {
        let gate = try Gate()
        let mine = Ed25519.SigningKey(seed: .numbered(70))
        let other = Ed25519.SigningKey(seed: .numbered(71))
        let identity = LinkIdentity(network: gate.network, signingKey: mine)
        let honest = try gate.initiator(identity: identity).handshake
        func peer(_ message: (Bytes32) -> [UInt8]) throws -> Result<LinkPeer, HandshakeError> {
            let client = try ClientHandshake.start(
                with: gate.target.handshake,
                ephemeral: .numbered(72),
                message: message
            )
            let work = ResponseWork(
                target: gate.target.handshake,
                network: gate.network,
                key: gate.key,
                ephemeral: .numbered(73),
                body: client.body,
                source: nil
            )
            do throws(HandshakeError) {
                return .success(try work.run().peer)
            } catch {
                return .failure(error)
            }
        }
        func message(
            _ id: Bytes32,
            _ signature: [UInt8],
            hop: UInt8 = 0
        ) -> [UInt8] {
            ClientMessage(hop: hop, minute: 0).encoded + id.bytes + signature
        }
        let network = gate.network.rawValue
        #expect(
            try peer {
                message(mine.publicKey, mine.sign($0.bytes, label: .link, network: network))
            }
                == .success(.relay(NodeID(mine.publicKey)))
        )
        let forgeries: [String: (Bytes32) -> [UInt8]] = [
            "another key": {
                message(mine.publicKey, other.sign($0.bytes, label: .link, network: network))
            },
            "another network": {
                let foreign = SHA256.digest([1])
                return message(
                    mine.publicKey,
                    mine.sign($0.bytes, label: .link, network: foreign)
                )
            },
            "another purpose": {
                message(mine.publicKey, mine.sign($0.bytes, label: .desc, network: network))
            },
            "another handshake": { _ in
                let old = honest.signedTranscript.bytes
                return message(mine.publicKey, mine.sign(old, label: .link, network: network))
            },
            "no signature": { _ in message(mine.publicKey, [UInt8](repeating: 0, count: 64)) },
            "a circuit's hop": {
                message(
                    mine.publicKey,
                    mine.sign($0.bytes, label: .link, network: network),
                    hop: 1
                )
            },
            "a key of low order": { _ in
                message(
                    Bytes32(hex: "01" + String(repeating: "00", count: 31)) ?? .zero,
                    [1] + [UInt8](repeating: 0, count: 63)
                )
            },
            "a short message": { _ in ClientMessage(hop: 0, minute: 0).encoded },
        ]
        for (name, forgery) in forgeries.sorted(by: { $0.key < $1.key }) {
            #expect(try peer(forgery) == .failure(.notAuthentic), "\(name)")
        }
        let zeros = [UInt8](repeating: 0, count: 64)
        #expect(try peer { _ in message(.zero, zeros) } == .success(.client))
    }

    @Test("row 81: comparing macs looks at every byte")
    func comparison() {
        let mac = [UInt8](0..<16)
        #expect(Cookie.areEqual(mac, mac))
        for index in 0..<128 { #expect(!Cookie.areEqual(mac, mac.flipping(bit: index))) }
        #expect(!Cookie.areEqual(mac, Array(mac.dropLast())))
        #expect(!Cookie.areEqual(mac, mac + [0]))
    }
}
