import Base
import Directory
import Testing
import Wire

@testable import AuthorityCore

extension AuthorityTests {
    /// Test matrix row 54: many relays of one operator who pretends to be many.
    @Suite("A thousand relays of one subnet", .timeLimit(.minutes(2)))
    struct SybilTests {
        private static let start = WallTime(seconds: AuthorityWorld.start / 1_000)
        private static let honest = 9
        private static let subnet: UInt32 = 0x0c00_0000

        /// All of them in one register, registered in an hour and answering every test.
        private func register(_ world: AuthorityWorld) throws -> RelayRegister {
            var register = RelayRegister(network: world.network, parameters: world.parameters)
            for index in 0..<Self.honest {
                _ = try register.add(try world.descriptor(index), at: Self.start)
            }
            for index in 0..<1_000 {
                let descriptor = try world.descriptor(
                    1_000 + index,
                    address: Self.subnet + 1 + UInt32(index) % 250,
                    port: 4_433 + UInt16(index / 250)
                )
                let isNew = try register.add(descriptor, at: Self.start + UInt64(index) * 36 / 10)
                #expect(isNew)
            }
            let now = CivilTime(milliseconds: AuthorityWorld.start + 3_600_000)
            while true {
                let due = register.takeDueTests(
                    at: now,
                    everyMilliseconds: 3_600_000,
                    limit: 100
                )
                guard !due.isEmpty else { break }
                for relay in due { _ = register.noteTest(of: relay.digest, .answered, at: now) }
            }
            #expect(register.runningCount == Self.honest + 1_000)
            return register
        }

        @Test("row 54: eight are voted for, those known longest, and everybody else stays")
        func votes() throws {
            let world = try AuthorityWorld()
            let register = try register(world)
            let entries = register.entries(at: Self.start + 3_600, places: PlaceTable())
            let listed = Set(entries.map(\.id))
            #expect(listed.count == Self.honest + RelayRegister.subnetLimit)
            for index in 0..<Self.honest { #expect(listed.contains(AuthorityWorld.relay(index))) }
            for index in 0..<RelayRegister.subnetLimit {
                #expect(listed.contains(AuthorityWorld.relay(1_000 + index)))
            }
        }

        @Test("row 54: one that goes makes room for the next of its subnet, and for no more")
        func succession() throws {
            let world = try AuthorityWorld()
            var register = try register(world)
            let first = try world.descriptor(1_000, address: Self.subnet + 1)
            let now = CivilTime(milliseconds: AuthorityWorld.start + 7_300_000)
            var found = false
            for _ in 0..<2 {
                // The second silence in a row ends it.
                let due = register.takeDueTests(at: now, everyMilliseconds: 3_600_000, limit: 2_000)
                for relay in due {
                    let isFirst = relay.descriptor.id == first.descriptor.id
                    found = found || isFirst
                    _ = register.noteTest(
                        of: relay.digest,
                        isFirst ? .silent("no answer") : .answered,
                        at: now
                    )
                }
            }
            #expect(found)
            let listed = Set(
                register.entries(at: Self.start + 7_300, places: PlaceTable()).map(\.id)
            )
            #expect(listed.count == Self.honest + RelayRegister.subnetLimit)
            #expect(!listed.contains(first.descriptor.id))
            #expect(listed.contains(AuthorityWorld.relay(1_000 + RelayRegister.subnetLimit)))
        }
    }
}
