import Base
import Circuits
import CryptoPrimitives
import Directory
import Links
import Onion
import RelayCore
import Simulation
import Testing
import Wire

/// What a relay does when its client asks for a path no honest client builds.
@Suite("Extensions that are refused (matrix row 19)")
struct ExtendRefusalTests {
    /// A relay's control plane with a neighbour whose circuit ends there.
    private struct Bench: ~Copyable {
        static let now = Instant.zero + .seconds(1)
        static let wall = WallTime(seconds: 1_800_000_030)

        let roster: RelayRoster
        let circuit: CircuitID
        var relay: RelayControl
        private var channel: ControlChannel
        private var random: RandomGenerator

        /// The relay is the roster's first, its neighbour a client or the roster's last relay.
        init(isMiddle: Bool) throws {
            var random = RandomGenerator(
                seed: Secret(copying: [UInt8](repeating: 19, count: 32))
            )
            let roster = try RelayRoster(
                guards: 1,
                middles: 1,
                exits: 1,
                listensOnV6: false,
                random: &random
            )
            let view = try roster.view(at: WallTime(seconds: 1_800_000_000))
            let member = roster.members[0]
            var relay = RelayControl(
                identity: RelayControl.Identity(
                    network: roster.network,
                    signingKey: member.signingKey,
                    circuitKeys: [member.circuitKey]
                ),
                families: RelayControl.Families(v4: true, v6: false),
                now: Self.now,
                wall: Self.wall,
                random: random.split()
            )
            relay.setView(view, now: Self.now)
            let hop: HopIndex = isMiddle ? .second : .first
            let link = try Self.openLink(
                to: &relay,
                of: roster,
                from: isMiddle ? roster.members[2] : nil,
                random: &random
            )
            circuit = try Self.create(hop, at: &relay, of: roster, over: link, random: &random)
            channel = ControlChannel(hop: hop)
            self.roster = roster
            self.relay = relay
            self.random = random
        }

        private static func openLink(
            to relay: inout RelayControl,
            of roster: RelayRoster,
            from neighbour: RelayRoster.Member?,
            random: inout RandomGenerator
        ) throws -> LinkID {
            let identity = neighbour.map {
                LinkIdentity(network: roster.network, signingKey: $0.signingKey)
            }
            let source = SocketAddress(ip: IPAddress(v4: 0xc633_6401), port: 50_000)
            var dialer = LinkDialer(identity: identity, random: random.split())
            let member = roster.members[0]
            let target = LinkTarget(
                network: roster.network,
                relay: member.id,
                address: member.v4,
                publicKey: member.circuitKey.publicKey
            )
            let isDialing = dialer.dial(target, as: LinkID(rawValue: 1), now: now)
            #expect(isDialing)
            while let step = dialer.nextStep() {
                switch step {
                case .job(let job): dialer.finish(job.run(), now: now)
                case .send(let bytes, _):
                    relay.receive(
                        .handshake(bytes, from: neighbour?.v4 ?? source),
                        now: now,
                        wall: wall
                    )
                default: Issue.record("\(step)")
                }
            }
            let next = relay.nextJob()
            let job = try #require(next)
            relay.finish(job.run(), now: now, wall: wall)
            var opened: NewLink?
            while let command = relay.nextCommand()?.command {
                if case .addLink(let link) = command { opened = link }
            }
            let link = try #require(opened)
            #expect(link.peer == (neighbour.map { .relay($0.id) } ?? .client))
            relay.receive(.link(.confirmed(link.id)), now: now, wall: wall)
            return link.id
        }

        private static func create(
            _ hop: HopIndex,
            at relay: inout RelayControl,
            of roster: RelayRoster,
            over link: LinkID,
            random: inout RandomGenerator
        ) throws -> CircuitID {
            let body = try handshake(with: roster.members[0], hop: hop, of: roster, &random)
            let number = CircuitNumber(rawValue: 7 | 1 << 31)
            relay.receive(.create(link, number, body), now: now, wall: wall)
            let next = relay.nextJob()
            let job = try #require(next)
            relay.finish(job.run(), now: now, wall: wall)
            var installed: CircuitID?
            while let command = relay.nextCommand()?.command {
                if case .installCircuit(let circuit) = command { installed = circuit.id }
            }
            return try #require(installed)
        }

        private static func handshake(
            with member: RelayRoster.Member,
            hop: HopIndex,
            of roster: RelayRoster,
            _ random: inout RandomGenerator
        ) throws -> [UInt8] {
            let target = HandshakeTarget(
                role: .circuit,
                network: roster.network,
                relay: member.id,
                publicKey: member.circuitKey.publicKey
            )
            let message = ClientMessage(hop: hop.rawValue, minute: wall.minute).encoded
            return try ClientHandshake.start(
                with: target,
                ephemeral: random.secret(byteCount: 32)
            ) { _ in message }.body.encoded
        }

        /// Asks for an extension to `next`; returns what the relay does, and what it answers.
        mutating func extend(
            to next: RelayRoster.Member
        ) throws -> (acts: Int, answers: [ControlMessage]) {
            let create = try Self.handshake(with: next, hop: .third, of: roster, &random)
            try channel.send(.extend(next: next.id, create: create))
            while let record = channel.nextRecord(now: Self.now) {
                relay.receive(
                    .control(circuit, record, isEarly: false),
                    now: Self.now,
                    wall: Self.wall
                )
            }
            var acts = 0
            while relay.nextJob() != nil { acts += 1 }
            var answers: [ControlMessage] = []
            while let command = relay.nextCommand()?.command {
                guard case .sendControl(circuit, let bytes) = command else {
                    acts += 1
                    continue
                }
                for message in try channel.receive(ControlRecord(parsing: bytes), now: Self.now) {
                    answers.append(
                        try ControlMessage(
                            type: message.type,
                            parsing: message.bytes,
                            fromClient: false
                        )
                    )
                }
            }
            return (acts, answers)
        }
    }

    @Test("a relay does not extend a circuit to itself", arguments: [false, true])
    func toItself(isMiddle: Bool) throws {
        var bench = try Bench(isMiddle: isMiddle)
        let outcome = try bench.extend(to: bench.roster.members[0])
        #expect(outcome.answers == [.extended(.failed(.refused))])
        #expect(outcome.acts == 0)
        let counters = bench.relay.counters
        #expect(counters.failedExtends == 1)
    }

    @Test("a relay does not extend a circuit back to the relay it came from")
    func back() throws {
        var bench = try Bench(isMiddle: true)
        let outcome = try bench.extend(to: bench.roster.members[2])
        #expect(outcome.answers == [.extended(.failed(.refused))])
        #expect(outcome.acts == 0)
    }

    @Test("to another relay it does, once", arguments: [false, true])
    func onward(isMiddle: Bool) throws {
        var bench = try Bench(isMiddle: isMiddle)
        let outcome = try bench.extend(to: bench.roster.members[1])
        #expect(outcome.answers.isEmpty)
        #expect(outcome.acts == 1, "it begins to open a link")
        let second = try bench.extend(to: bench.roster.members[1])
        #expect(second.answers == [.extended(.failed(.refused))])
        #expect(second.acts == 0)
    }
}
