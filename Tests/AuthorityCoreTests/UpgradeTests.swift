import Base
import Directory
import Testing
import Wire

@testable import AuthorityCore

extension AuthorityTests {
    @Suite("A relay is upgraded", .timeLimit(.minutes(2)))
    struct UpgradeTests {
        @Test("one that is away for a test, and comes back with its keys, keeps place and flags")
        func restart() throws {
            let world = try AuthorityWorld()
            var register = RelayRegister(network: world.network, parameters: world.parameters)
            let start = WallTime(seconds: AuthorityWorld.start / 1_000)
            let before = try world.descriptor(1)
            _ = try register.add(before, at: start)
            var time = AuthorityWorld.start

            func test(_ outcome: RelayRegister.TestOutcome) {
                let due = register.takeDueTests(
                    at: CivilTime(milliseconds: time),
                    everyMilliseconds: 1_000,
                    limit: 10
                )
                #expect(due.count == 1)
                for relay in due {
                    _ = register.noteTest(
                        of: relay.digest,
                        outcome,
                        at: CivilTime(milliseconds: time)
                    )
                }
                time += 1_000
            }

            func entry() -> DirectoryVote.Entry? {
                register.entries(at: start, places: PlaceTable()).first
            }

            test(.answered)
            register.noteMeasured(
                5_000,
                of: before.descriptor.id,
                at: .first,
                now: CivilTime(milliseconds: time)
            )
            let listed = try #require(entry())
            #expect(listed.flags == [.guardCapable] && listed.measuredKilobits > 0)
            test(.silent("no answer"))
            #expect(entry() == listed)
            // The same identity with a new circuit key: what it carried and its flags stay.
            let after = try world.descriptor(1, keyByte: 77)
            #expect(after.descriptor.id == before.descriptor.id)
            world.run(milliseconds: 60_000)
            _ = try register.add(try world.descriptor(1, keyByte: 77), at: start + 60)
            test(.answered)
            let back = try #require(entry())
            #expect(back.id == listed.id && back.flags == listed.flags)
            #expect(back.measuredKilobits == listed.measuredKilobits)
        }
    }
}
