import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

extension AuthorityTests {
    @Suite("Authorities of several versions (row 84)")
    struct MixedVersionTests {
        private static let later = NetworkParameters.fields.filter(\.isLater)

        /// A body by votes of authorities of which `old` do not know the later parameters.
        private func body(
            old: Int,
            _ change: (inout NetworkParameters, Int) throws -> Void = { _, _ in }
        )
            throws -> [UInt8]
        {
            let world = try AuthorityWorld()
            let descriptor = try world.descriptor(1)
            let votes = try (0..<4).map { author in
                var parameters = world.parameters
                if author < old {
                    for field in Self.later { parameters.absent.append(field.id) }
                } else {
                    try change(&parameters, author)
                }
                let vote = DirectoryVote(
                    network: world.network,
                    validAfter: WallTime(seconds: AuthorityWorld.start / 1_000),
                    author: UInt8(author),
                    parameters: parameters,
                    log: DirectoryLog().encoded(),
                    entries: [
                        DirectoryVote.Entry(
                            id: descriptor.descriptor.id,
                            descriptor: descriptor.digest,
                            publishedMinute: descriptor.descriptor.publishedMinute,
                            flags: descriptor.descriptor.flags
                        )
                    ]
                )
                // As it comes over the network.
                return try DirectoryVote(parsing: vote.encoded())
            }
            return try VoteTally(votes, root: world.root)
                .body(validAfter: WallTime(seconds: AuthorityWorld.start / 1_000)) { _ in descriptor
                }
        }

        @Test(
            "a later parameter is in the document once more than half vote for it",
            arguments: 0...4
        )
        func upgrade(old: Int) throws {
            let consensus = try Consensus(parsing: body(old: old))
            let isThere = 4 - old > 2
            #expect(consensus.parameters.absent == (isThere ? [] : Self.later.map(\.id)))
            let expected = isThere ? NetworkParameters.lab : NetworkParameters.production
            #expect(consensus.parameters.measureSeconds == expected.measureSeconds)
            // It is read and written as it is, whatever its version, and so are diffs of it.
            #expect(try consensus.encoded() == body(old: old))
        }

        @Test("where all vote alike an older authority counts the same bytes")
        func sameBytes() throws {
            // To it the later parameters are unknown: kept where more than half vote for one value.
            let consensus = try Consensus(parsing: body(old: 1))
            let numbers = Self.later.map(\.id)
            let written = try consensus.encoded()
            for (number, field) in zip(numbers, Self.later) {
                let value = consensus.parameters[field.name.description] ?? 0
                let bytes =
                    [number >> 8, number & 255].map { UInt8($0) }
                    + (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) }
                #expect(written.firstRange(of: bytes) != nil)
            }
        }

        @Test("a parameter of the first version is never missed in silence")
        func firstVersion() throws {
            var parameters = NetworkParameters.lab
            parameters.absent = [1]
            #expect(throws: WireError.invalid(field: "parameters")) { try parameters.validate() }
            parameters.absent = [51, 50]
            #expect(throws: WireError.invalid(field: "parameters")) { try parameters.validate() }
        }

        @Test("no measurement ends at a relay that does not send probes back")
        func features() throws {
            let world = try AuthorityWorld()
            world.parameters.measureSeconds = 20
            world.startAll()
            var old: Set<NodeID> = []
            for index in 0..<9 {
                var signed = try world.descriptor(index)
                if index < 5 {
                    var descriptor = signed.descriptor
                    descriptor.features = 0
                    old.insert(descriptor.id)
                    signed = try SignedDescriptor(
                        signing: descriptor,
                        with: AuthorityWorld.key("relay", index)
                    )
                }
                world.register(signed)
            }
            world.run(milliseconds: 120_000)
            #expect(world.measuredPaths.count > 50)
            #expect(!world.measuredPaths.contains { $0.last.map(old.contains) ?? true })
            #expect(world.measuredPaths.contains { old.contains($0[$0.count - 2]) })
        }
    }
}
