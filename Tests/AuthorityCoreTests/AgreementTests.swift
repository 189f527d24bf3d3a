import AuthorityCore
import Base
import Directory
import Testing
import Wire

extension AuthorityTests {
    @Suite("Authorities agree on the network", .timeLimit(.minutes(5)))
    struct AgreementTests {
        static func network(seed: UInt64 = 1, relays: Int = 9) throws -> AuthorityWorld {
            let world = try AuthorityWorld(seed: seed)
            world.startAll()
            for index in 0..<relays { world.register(try world.descriptor(index)) }
            return world
        }

        @Test("the first document is there within five seconds, the next ones each interval")
        func founding() throws {
            let world = try Self.network()
            world.run(milliseconds: 5_000)
            for index in 0..<4 {
                let first = try #require(
                    world.documents[index].first,
                    "authority \(index) has none"
                )
                #expect(first.consensus.relays.count == 9)
                #expect(first.consensus.logSize == 0)
            }
            world.run(milliseconds: 60_000)
            for index in 0..<4 {
                #expect((6...7).contains(world.documents[index].count))
                world.checkChain(index)
                // Every authority signed every document.
                for document in world.documents[index].dropFirst() {
                    #expect(world.root.signers(of: document).count == 4)
                    #expect(document.consensus.validAfter.seconds.isMultiple(of: 10))
                }
            }
            world.checkAgreement()
            #expect(
                world.reports.joined().allSatisfy {
                    if case .published = $0 { true } else { false }
                }
            )
        }

        @Test("no document before the threshold has met, nor without a relay")
        func waiting() throws {
            let world = try AuthorityWorld()
            world.startAuthority(0)
            world.startAuthority(1)
            world.register(try world.descriptor(0))
            world.run(milliseconds: 30_000)
            #expect(world.documents.allSatisfy { $0.isEmpty })
            world.startAuthority(2)
            world.register(try world.descriptor(0))
            world.run(milliseconds: 6_000)
            #expect(world.documents.prefix(3).allSatisfy { $0.count == 1 })

            let empty = try AuthorityWorld()
            empty.startAll()
            empty.run(milliseconds: 30_000)
            #expect(empty.documents.allSatisfy { $0.isEmpty })
        }

        @Test(
            "one bad authority of four changes nothing but its own vote",
            arguments: AuthorityWorld.Fault.allCases,
            [UInt64(1), 2, 3]
        )
        func oneBad(fault: AuthorityWorld.Fault, seed: UInt64) throws {
            let world = try AuthorityWorld(seed: seed)
            world.faults[Int(seed % 4)] = fault
            world.startAll()
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            world.run(milliseconds: 65_000)
            world.checkAgreement()
            for index in world.honest {
                #expect(world.documents[index].count >= 6, "authority \(index), \(fault)")
                world.checkChain(index)
                for document in world.documents[index] {
                    let consensus = document.consensus
                    #expect(
                        consensus.relays.map(\.id) == (0..<9).map(AuthorityWorld.relay).sorted()
                    )
                    #expect(consensus.parameters == world.parameters)
                    #expect(consensus.relays.allSatisfy { $0.weight <= 1_008 && $0.country == nil })
                }
            }
            if fault == .equivocates {
                let told = world.reports.joined().contains {
                    if case .doubleVote(_, let name) = $0 { name == "a\(seed % 4)" } else { false }
                }
                #expect(told)
            }
        }

        @Test(
            "two bad authorities of seven change nothing either",
            arguments: 1...4 as ClosedRange<UInt64>
        )
        func twoBad(seed: UInt64) throws {
            let world = try AuthorityWorld(7, threshold: 5, seed: seed)
            let faults = AuthorityWorld.Fault.allCases
            world.faults[1] = faults[Int(seed) % faults.count]
            world.faults[4] = faults[Int(seed * 3 + 1) % faults.count]
            world.startAll()
            for index in 0..<6 { world.register(try world.descriptor(index)) }
            world.run(milliseconds: 45_000)
            world.checkAgreement()
            for index in world.honest {
                #expect(world.documents[index].count >= 4)
                #expect(world.documents[index].allSatisfy { $0.consensus.relays.count == 6 })
            }
        }

        @Test("documents go on with one authority down, and stop with two down (row 53)")
        func down() throws {
            let world = try Self.network()
            world.run(milliseconds: 15_000)
            world.stopAuthority(3)
            world.run(milliseconds: 40_000)
            let count = world.documents[0].count
            #expect(count >= 5)
            world.checkChain(0)
            world.stopAuthority(2)
            world.run(milliseconds: 100_000)
            #expect(world.documents[0].count <= count + 1)
            let isTold = world.reports[0].contains { if case .expired = $0 { true } else { false } }
            #expect(isTold, "nobody is told that the document has expired")
            // Everybody comes back, an hour later, with what was on disk.
            world.run(milliseconds: 3_600_000)
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            world.startAuthority(2)
            world.startAuthority(3)
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            let before = world.documents[0].count
            world.run(milliseconds: 30_000)
            #expect(world.documents[0].count > before)
            world.checkAgreement()
            world.checkChain(0)
            #expect(world.documents[3].last?.digest == world.documents[0].last?.digest)
        }

        @Test("an authority may stop and start at any moment", arguments: 0..<24 as Range<UInt64>)
        func restart(seed: UInt64) throws {
            let world = try Self.network(seed: seed)
            world.run(milliseconds: 12_000)
            // Somewhere within an interval, and within the votings above all.
            world.run(milliseconds: 7_500 + seed * 150)
            let victim = Int(seed % 4)
            world.stopAuthority(victim)
            world.run(milliseconds: 1 + seed * 40)
            world.startAuthority(victim)
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            world.run(milliseconds: 40_000)
            world.checkAgreement()
            for index in 0..<4 {
                #expect(world.documents[index].last?.digest == world.documents[0].last?.digest)
                #expect(world.documents[index].last?.signatures.count == 4)
            }
            let doubles = world.reports.joined().filter {
                if case .doubleVote = $0 { true } else { false }
            }
            #expect(doubles.isEmpty, "a restart made an authority vote twice")
        }

        @Test("an authority that lost its disk catches up with the log")
        func lostDisk() throws {
            let world = try Self.network()
            world.run(milliseconds: 35_000)
            world.stopAuthority(2)
            world.run(milliseconds: 20_000)
            world.startAuthority(2, keepsDisk: false)
            for index in 0..<9 { world.register(try world.descriptor(index)) }
            world.run(milliseconds: 40_000)
            #expect(world.memories[2].log == world.memories[0].log)
            world.checkChain(0)
        }

        @Test(
            "documents are made with a tenth of all messages lost, mostly",
            arguments: 1...4 as ClosedRange<UInt64>
        )
        func loss(seed: UInt64) throws {
            let world = try Self.network(seed: seed)
            world.lossPerMille = 100
            world.run(milliseconds: 120_000)
            world.lossPerMille = 0
            world.run(milliseconds: 30_000)
            world.checkAgreement()
            #expect(world.documents[0].count >= 6)
            #expect(Set(world.documents.map { $0.last?.digest }).count == 1)
        }

        @Test("the same seed gives the same documents")
        func determinism() throws {
            let first = try Self.network(seed: 5)
            let second = try Self.network(seed: 5)
            first.run(milliseconds: 30_000)
            second.run(milliseconds: 30_000)
            #expect(first.documents == second.documents)
        }
    }
}
