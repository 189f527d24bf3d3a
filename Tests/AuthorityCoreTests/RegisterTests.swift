import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

extension AuthorityTests {
    @Suite("Relays come, lie and go", .timeLimit(.minutes(2)))
    struct RegisterTests {
        @Test("a relay that stops answering is gone within two intervals, and comes back")
        func death() throws {
            let world = try AgreementTests.network()
            world.run(milliseconds: 12_000)
            world.deadRelays = [AuthorityWorld.relay(4)]
            world.run(milliseconds: 20_000)
            let after = try #require(world.documents[0].last)
            #expect(after.consensus.relays.count == 8)
            #expect(!after.consensus.relays.contains { $0.id == AuthorityWorld.relay(4) })
            world.deadRelays = []
            world.run(milliseconds: 20_000)
            #expect(world.documents[0].last?.consensus.relays.count == 9)
            world.checkAgreement()
        }

        @Test("a tenth relay is listed within two intervals")
        func birth() throws {
            let world = try AgreementTests.network()
            world.run(milliseconds: 12_000)
            world.register(try world.descriptor(9))
            world.run(milliseconds: 20_000)
            #expect(world.documents[0].last?.consensus.relays.count == 10)
        }

        @Test("who claims the address of a relay that runs is refused, by name")
        func address() throws {
            let world = try AgreementTests.network()
            world.run(milliseconds: 1_000)
            let lie = try world.descriptor(20, address: 0x0b00_0001 &+ 3 << 8)
            let address = try #require(lie.descriptor.addresses.v4)
            #expect(
                throws: RelayRegister.Refusal.addressTaken(address, by: AuthorityWorld.relay(3))
            ) {
                _ = try world.authorities[0]?.receive(lie, now: world.clock(of: 0))
            }
            #expect(world.authorities[0]?.counters.refusedDescriptors == 1)
        }

        @Test("who claims an address where nobody answers is not listed")
        func nobodyThere() throws {
            let world = try AgreementTests.network()
            world.deadRelays = [AuthorityWorld.relay(20)]
            world.register(try world.descriptor(20))
            world.run(milliseconds: 30_000)
            #expect(world.documents[0].last?.consensus.relays.count == 9)
            #expect(
                world.authorities[0]?.register.standing(of: AuthorityWorld.relay(20))
                    == .unreachable("no answer")
            )
        }

        @Test("a bandwidth out of the air counts no more than the limit for what nobody measured")
        func weight() throws {
            let world = try AuthorityWorld()
            world.startAll()
            let key = AuthorityWorld.key("relay", 1)
            var boast = try world.descriptor(1).descriptor
            boast.bandwidthKilobits = .max
            boast.country = CountryCode("CH")
            world.register(try SignedDescriptor(signing: boast, with: key))
            world.run(milliseconds: 8_000)
            let relay = try #require(world.documents[0].last?.consensus.relays.first)
            #expect(relay.weight == VoteTally.unmeasuredLimitKilobits)
            #expect(relay.country == nil, "a relay does not say itself where it stands")
        }

        @Test("a relay that announces itself anew while it is tested is tested again later")
        func renewedDuringTest() throws {
            let world = try AuthorityWorld()
            var now = CivilTime(milliseconds: AuthorityWorld.start)
            var authority = AuthorityControl(
                root: world.root,
                key: world.keys[0],
                parameters: world.parameters,
                places: world.places,
                seed: .zero,
                now: now
            )
            let first = try world.descriptor(1)
            _ = try authority.receive(first, now: now)
            var renewed = first.descriptor
            renewed.publishedMinute += 1
            renewed.contact = "ops"
            let second = try SignedDescriptor(
                signing: renewed,
                with: AuthorityWorld.key("relay", 1)
            )
            _ = try authority.receive(second, now: now)
            authority.finishTest(of: first.digest, .answered, now: now)
            #expect(authority.register.standing(of: first.descriptor.id) == .running)
            while authority.nextAction() != nil {}
            now = now + 2_500
            authority.advance(to: now)
            var tests: [Bytes32] = []
            while let action = authority.nextAction() {
                if case .test(let descriptor, _) = action { tests.append(descriptor.digest) }
            }
            #expect(tests == [second.digest])
        }

        @Test(
            "each lie about address, family or policy is refused by name, counted, and costs nobody else"
        )
        func lies() throws {
            let world = try AgreementTests.network()
            world.run(milliseconds: 5_000)
            let before = try #require(world.authorities[0]?.counters.refusedDescriptors)
            let honest = try world.descriptor(31)
            let id = honest.descriptor.id
            let key = AuthorityWorld.key("relay", 31)
            func signed(_ change: (inout Descriptor) throws -> Void) throws -> [UInt8] {
                var copy = honest.descriptor
                try change(&copy)
                return try SignedDescriptor(signing: copy, with: key).encoded()
            }
            let family = AuthorityWorld.key("family", 1)
            let victim = AuthorityWorld.relay(3)
            let victimAddress = try #require(try world.descriptor(3).descriptor.addresses.v4)
            let otherNetwork = NetworkID(SHA256.digest([1]))
            // The flag and the policy contradict each other only on the wire: nothing of ours writes that.
            var exitless = honest.encoded()
            let flags = try #require(exitless.firstRange(of: [0, 2, 0, 0, 4, 7]))
            exitless[flags.lowerBound + 1] = 3
            let cases: [(String, [UInt8], RelayRegister.Refusal?)] = [
                (
                    "another's address",
                    try signed { $0.addresses = try RelayAddresses(v4: victimAddress, v6: nil) },
                    .addressTaken(victimAddress, by: victim)
                ),
                (
                    "a family that certified another relay",
                    try signed {
                        $0.family = .init(certifying: victim, in: world.network, with: family)
                    },
                    .unverified(.descriptor(id, .badFamilySignature))
                ),
                (
                    "a family of another network",
                    try signed {
                        $0.family = .init(certifying: id, in: otherNetwork, with: family)
                    },
                    .unverified(.descriptor(id, .badFamilySignature))
                ),
                (
                    "another network",
                    try signed { $0.network = otherNetwork },
                    .unverified(.wrongNetwork(expected: world.network, found: otherNetwork))
                ),
                ("an exit without a policy", exitless, nil),
                ("nothing at all", [], nil),
            ]
            for (name, bytes, refusal) in cases {
                let clock = world.clock(of: 0)
                do throws(RelayRegister.Refusal) {
                    _ = try world.authorities[0]?.receive(descriptor: bytes, now: clock)
                    Issue.record("\(name) is taken")
                } catch {
                    if let refusal { #expect(error == refusal, "\(name)") }
                    #expect(!"\(error)".isEmpty)
                }
            }
            let counters = try #require(world.authorities[0]?.counters)
            #expect(counters.refusedDescriptors == before + UInt64(cases.count))
            #expect(world.authorities[0]?.register.standing(of: id) == nil)
            #expect(world.authorities[0]?.register.standing(of: victim) == .running)
            world.run(milliseconds: 20_000)
            #expect(world.documents[0].last?.consensus.relays.count == 9)
            world.checkAgreement()
        }

        @Test("countries and autonomous systems come from the authorities' tables")
        func place() throws {
            let world = try AuthorityWorld()
            #expect(
                world.places.systems.add(
                    """
                    11.0.0.0\t11.0.3.255\tAS64500\tZZ\tSOMEBODY
                    184550400,184550911,64501
                    11.0.6.0\t11.0.255.255\t0\tNone\tNot routed
                    """
                ) == nil
            )
            world.places.countries.add("# test\n184549376,184550399,DE\n184550400,184550911,FR\n")
            world.startAll()
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            world.run(milliseconds: 8_000)
            let relays = try #require(world.documents[0].last?.consensus.relays)
            let countries = (0..<9).map { index in
                relays.first { $0.id == AuthorityWorld.relay(index) }?.country
            }
            let expected = ["DE", "DE", "DE", "DE", "FR", "FR", nil, nil, nil]
            #expect(countries == expected.map { $0.flatMap { CountryCode($0) } })
            let systems = (0..<9).map { index in
                relays.first { $0.id == AuthorityWorld.relay(index) }?.autonomousSystem
            }
            #expect(systems == [64_500, 64_500, 64_500, 64_500, 64_501, 64_501, 0, 0, 0])
        }

        @Test("of two hundred relays in one subnet eight are listed, whatever they answer (row 54)")
        func sybil() throws {
            let world = try AgreementTests.network()
            world.run(milliseconds: 3_000)
            for index in 0..<200 {
                world.register(
                    try world.descriptor(
                        1_000 + index,
                        address: 0x0c00_0000 &+ UInt32(index % 250) + 1
                    )
                )
            }
            world.run(milliseconds: 25_000)
            let relays = try #require(world.documents[0].last?.consensus.relays)
            #expect(relays.count == 9 + RelayRegister.subnetLimit)
        }

        @Test("old, future and superseded descriptors and expired keys are refused with the reason")
        func refusals() throws {
            let world = try AuthorityWorld()
            var register = RelayRegister(network: world.network, parameters: world.parameters)
            let now = WallTime(seconds: AuthorityWorld.start / 1_000)
            let descriptor = try world.descriptor(1)
            let isNew = try register.add(descriptor, at: now)
            let isNewAgain = try register.add(descriptor, at: now)
            #expect(isNew && !isNewAgain)
            let key = AuthorityWorld.key("relay", 1)
            func signed(_ change: (inout Descriptor) -> Void) throws -> SignedDescriptor {
                var copy = descriptor.descriptor
                change(&copy)
                return try SignedDescriptor(signing: copy, with: key)
            }
            let cases: [(SignedDescriptor, RelayRegister.Refusal)] = [
                (try signed { $0.publishedMinute -= 1 }, .superseded),
                (try signed { $0.publishedMinute += 62 }, .publishedInFuture),
                (
                    try signed {
                        $0.publishedMinute += 1
                        $0.circuitKeyExpiryMinute = now.minute
                    }, .circuitKeyExpired
                ),
            ]
            for (bad, refusal) in cases {
                #expect(throws: refusal) { _ = try register.add(bad, at: now) }
            }
            #expect(throws: RelayRegister.Refusal.tooOld) {
                _ = try register.add(world.descriptor(2), at: now + 86_400)
            }
            let other = try SignedDescriptor(parsing: descriptor.encoded().dropLast() + [1])
            #expect(
                throws: RelayRegister.Refusal.unverified(
                    .descriptor(AuthorityWorld.relay(1), .badSignature)
                )
            ) { _ = try register.add(other, at: now) }
        }
    }
}
