import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

extension AuthorityTests {
    /// `umbel-lab measure directory` runs the same with 10,000 relays and measures it.
    @Suite("A round with many relays", .timeLimit(.minutes(2)))
    struct ScaleTests {
        @Test("two hundred relays come to one document in two rounds, and its diff is small")
        func documents() throws {
            let world = try AuthorityWorld()
            world.latency = 1...5
            world.startAll()
            let count = 200
            for index in 0..<count { world.register(try world.descriptor(index)) }
            world.run(milliseconds: 5_000)
            world.checkAgreement()
            let first = try #require(world.documents[0].last)
            #expect(first.consensus.relays.count == count)
            // A day's part of all relays has a new key.
            for index in stride(from: 0, to: count, by: 24) {
                world.register(try world.descriptor(index, keyByte: 77))
            }
            world.run(milliseconds: 20_000)
            world.checkAgreement()
            let document = try #require(world.documents[0].last)
            #expect(document.consensus.relays.count == count)
            let bytes = document.encoded()
            let read = try ConsensusDocument(parsing: bytes)
            let now = WallTime(seconds: world.now / 1_000)
            #expect(try world.root.verify(read, at: now).relays.count == count)
            var shelf = DirectoryShelf()
            shelf.add(first)
            shelf.add(document)
            let diff = try #require(shelf.diff(from: first.digest))
            #expect(diff.count < bytes.count / 10)
            let made = try first.applying(ConsensusDiffChain(parsing: diff))
            #expect(made.digest == document.digest)
        }

        @Test("relays are tested by turns, few at a time, and each again a quarter interval later")
        func turns() throws {
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
            let count = 500
            for index in 0..<count { _ = try authority.receive(world.descriptor(index), now: now) }
            let begun = now
            var tested: [Bytes32: [CivilTime]] = [:]
            var waiting: [Bytes32] = []
            for _ in 0..<600 {
                authority.advance(to: now)
                while let action = authority.nextAction() {
                    guard case .test(let descriptor, _) = action else { continue }
                    waiting.append(descriptor.digest)
                    tested[descriptor.digest, default: []].append(now)
                }
                #expect(waiting.count <= 64)
                now = now + 10
                for digest in waiting { authority.finishTest(of: digest, .answered, now: now) }
                waiting.removeAll()
                while let action = authority.nextAction() {
                    guard case .test(let descriptor, _) = action else { continue }
                    waiting.append(descriptor.digest)
                    tested[descriptor.digest, default: []].append(now)
                }
            }
            #expect(tested.count == count)
            #expect(authority.register.runningCount == count)
            for times in tested.values {
                // 6 s with tests every 2.5 s.
                #expect(times.count == 3)
                #expect(times.allSatisfy { $0 >= begun })
                for (one, next) in zip(times, times.dropFirst()) { #expect(next >= one + 2_500) }
            }
        }
    }
}
