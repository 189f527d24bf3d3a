import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

extension AuthorityTests {
    @Suite("Relays are measured", .timeLimit(.minutes(2)))
    struct MeasurementTests {
        /// Nine relays that are each measured every 20 s by each authority.
        private func network() throws -> AuthorityWorld {
            let world = try AuthorityWorld()
            world.parameters.measureSeconds = 20
            world.startAll()
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            return world
        }

        private func weights(_ world: AuthorityWorld) throws -> [NodeID: UInt32] {
            let relays = try #require(world.documents[0].last?.consensus.relays)
            return Dictionary(uniqueKeysWithValues: relays.map { ($0.id, $0.weight) })
        }

        @Test("what relays carry becomes their weight, by the low median of the authorities")
        func weight() throws {
            let world = try network()
            let slow = AuthorityWorld.relay(2)
            world.capacities = [slow: 700]
            // The first document has the claims, or what nobody has measured counts for at most.
            world.run(milliseconds: 3_000)
            #expect(try weights(world)[slow] == 1_002)
            world.run(milliseconds: 200_000)
            let weights = try weights(world)
            #expect(weights[slow] == 700)
            // 1,000 and some claimed, doubling every 30 s from its first measurement.
            let others = weights.filter { $0.key != slow }.values
            #expect(others.allSatisfy { $0 > 4_000 && $0 <= 50_000 })
            let counters = world.authorities.compactMap { $0?.counters }
            #expect(counters.allSatisfy { $0.measurements > 20 && $0.failedMeasurements == 0 })
            world.checkAgreement()
        }

        @Test(
            "a measurement goes through helpers drawn anew, and each relay has both places in turn"
        )
        func paths() throws {
            let world = try network()
            world.run(milliseconds: 150_000)
            let paths = world.measuredPaths
            #expect(paths.allSatisfy { Set($0).count == $0.count })
            for index in 0..<9 {
                let relay = AuthorityWorld.relay(index)
                let ends = paths.filter { $0.count == 2 && $0[0] == relay }
                let middles = paths.filter { $0.count == 3 && $0[1] == relay }
                #expect(ends.count >= 2 && middles.count >= 2)
                #expect(Set(middles.flatMap { [$0[0], $0[2]] }).count >= 4)
            }
        }

        @Test("who is fast only for whom it takes for an authority counts for what others get")
        func favours() throws {
            let world = try network()
            let liar = AuthorityWorld.relay(5)
            world.boasts = [liar: 4_000_000]
            world.capacities = [liar: 300]
            world.run(milliseconds: 200_000)
            #expect(try weights(world)[liar] == 300)
        }

        @Test("one authority that is generous or mean moves no weight")
        func oneBad() throws {
            let world = try network()
            for index in 0..<9 { world.capacities[AuthorityWorld.relay(index)] = 900 }
            world.faults = [3: .votesGarbage]
            world.run(milliseconds: 200_000)
            #expect(try weights(world).values.allSatisfy { $0 == 900 })
        }

        @Test(
            "a relay that echoes and passes nothing on is gone within two intervals, and no other"
        )
        func stuck() throws {
            let world = try network()
            world.run(milliseconds: 40_000)
            #expect(world.documents[0].last?.consensus.relays.count == 9)
            let stuck = AuthorityWorld.relay(4)
            world.stuckRelays = [stuck]
            world.run(milliseconds: 20_000)
            let listed = try #require(world.documents[0].last?.consensus.relays)
            #expect(listed.count == 8)
            #expect(!listed.contains { $0.id == stuck })
            #expect(
                world.authorities[0]?.register.standing(of: stuck)
                    == .unreachable("passes nothing on")
            )
            // It stays away until it passes something on.
            world.run(milliseconds: 40_000)
            #expect(world.documents[0].suffix(4).allSatisfy { $0.consensus.relays.count == 8 })
            world.stuckRelays = []
            world.run(milliseconds: 20_000)
            #expect(world.documents[0].last?.consensus.relays.count == 9)
        }

        @Test("a relay that dies takes none of those with it that passed circuits on to it")
        func deadHelper() throws {
            let world = try network()
            world.run(milliseconds: 40_000)
            world.deadRelays = [AuthorityWorld.relay(1)]
            for _ in 0..<4 {
                world.run(milliseconds: 10_000)
                let listed = try #require(world.documents[0].last?.consensus.relays)
                #expect(listed.count >= 8)
            }
            #expect(world.documents[0].last?.consensus.relays.count == 8)
        }

        @Test("weight doubles at most, in whatever steps it grows", arguments: [1, 7, 60, 600])
        func growth(steps: UInt64) throws {
            let world = try AuthorityWorld()
            var parameters = world.parameters
            parameters.weightGrowthSeconds = 600
            var register = RelayRegister(network: world.network, parameters: parameters)
            let relay = AuthorityWorld.relay(1)
            let start = CivilTime(milliseconds: AuthorityWorld.start)
            _ = try register.add(world.descriptor(1), at: start.wall)
            register.noteMeasured(1_000_000, of: relay, at: .first, now: start)
            #expect(
                register.measuredKilobits(of: relay) == 1_001,
                "it counts for its claim at first"
            )
            for step in 1...steps {
                let now = start + 600_000 * step / steps
                register.noteMeasured(1_000_000, of: relay, at: .first, now: now)
            }
            let grown = register.measuredKilobits(of: relay)
            #expect(grown <= 2_002)
            // What is lost to rounding to a 64th of a doubling is lost in each step.
            if steps <= 60 { #expect(grown >= 1_800) }
            // Down it goes at once, when two of three say so.
            let later = start + 601_000
            register.noteMeasured(50, of: relay, at: .first, now: later)
            register.noteMeasured(60, of: relay, at: .first, now: later)
            #expect(register.measuredKilobits(of: relay) == 60)
            register.noteMeasured(nil, of: relay, at: .first, now: later)
            register.noteMeasured(nil, of: relay, at: .first, now: later)
            #expect(register.measuredKilobits(of: relay) == 1, "nothing came back: nothing it is")
        }

        @Test("what was measured outlives a restart, and a damaged file is refused")
        func restart() throws {
            let world = try AuthorityWorld()
            var register = RelayRegister(network: world.network, parameters: world.parameters)
            let start = CivilTime(milliseconds: AuthorityWorld.start)
            for index in 0..<5 {
                _ = try register.add(world.descriptor(index), at: start.wall)
                register.noteMeasured(
                    UInt32(500 + index),
                    of: AuthorityWorld.relay(index),
                    at: .middle,
                    now: start
                )
            }
            let bytes = register.encodedHistory()
            var other = RelayRegister(network: world.network, parameters: world.parameters)
            for index in 0..<4 { _ = try other.add(world.descriptor(index), at: start.wall + 100) }
            try other.restoreHistory(bytes, at: start.wall + 100)
            for index in 0..<4 {
                #expect(
                    other.measuredKilobits(of: AuthorityWorld.relay(index)) == UInt32(500 + index)
                )
            }
            #expect(other.measuredKilobits(of: AuthorityWorld.relay(4)) == 0)
            for end in stride(from: 0, to: bytes.count, by: 7) {
                #expect(throws: WireError.self) {
                    try other.restoreHistory(Array(bytes[..<end]), at: start.wall)
                }
            }
        }
    }
}
