import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

/// What rounds of many relays take; run by hand for figures: `UMBEL_SCALE=1`.
@Suite("A round with many relays", .timeLimit(.minutes(10)))
struct ScaleTests {
    @Test("votes of a hundred relays come to one document, and its diffs are small")
    func hundred() throws {
        try measure(relays: 100)
    }

    @Test("and of more", .enabled(if: Scale.isAsked), arguments: [1_000, 10_000])
    func more(count: Int) throws {
        try measure(relays: count)
    }

    private func measure(relays count: Int) throws {
        let world = try AuthorityWorld()
        world.latency = 1...5
        let clock = ContinuousClock()
        var descriptors: [SignedDescriptor] = []
        for index in 0..<count { descriptors.append(try world.descriptor(index)) }
        var register = RelayRegister(network: world.network, parameters: world.parameters)
        let now = WallTime(seconds: AuthorityWorld.start / 1_000)
        let registering = try clock.measure {
            for descriptor in descriptors { _ = try register.add(descriptor, at: now) }
        }
        var log = DirectoryLog()
        var documents: [ConsensusDocument] = []
        var counting = Duration.zero
        var signing = Duration.zero
        for hour in 0..<2 {
            let time = now + UInt64(hour) * 3_600
            // An hour's part of all relays has a new key.
            if hour == 1 {
                for index in stride(from: 0, to: count, by: 24) {
                    descriptors[index] = try world.descriptor(index, keyByte: 77)
                }
            }
            let entries = descriptors.map { signed in
                DirectoryVote.Entry(
                    id: signed.descriptor.id,
                    descriptor: signed.digest,
                    publishedMinute: signed.descriptor.publishedMinute,
                    flags: signed.descriptor.flags
                )
            }.sorted { $0.id < $1.id }
            let table = Dictionary(uniqueKeysWithValues: descriptors.map { ($0.digest, $0) })
            var votes: [DirectoryVote] = []
            for author in 0..<4 {
                let vote = DirectoryVote(
                    network: world.network,
                    validAfter: time,
                    author: UInt8(author),
                    parameters: world.parameters,
                    log: log.encoded(),
                    entries: entries
                )
                signing += try clock.measure {
                    let signed = try SignedVote(signing: vote, with: world.keys[author])
                    votes.append(try SignedVote(parsing: signed.encoded()).vote)
                }
            }
            var body: [UInt8] = []
            counting += try clock.measure {
                body = try VoteTally(votes, root: world.root).body(validAfter: time) { table[$0] }
            }
            var document = try ConsensusDocument(body: body)
            for index in 0..<3 {
                document = try document.adding(
                    document.signature(by: UInt8(index), with: world.keys[index])
                )
            }
            #expect(document.consensus.relays.count == count)
            log.append(document.digest)
            documents.append(document)
        }
        let bytes = documents[1].encoded()
        var relays = 0
        let reading = try clock.measure {
            let document = try ConsensusDocument(parsing: bytes)
            relays = try world.root.verify(document, at: now + 3_600).relays.count
        }
        #expect(relays == count)
        var shelf = DirectoryShelf()
        shelf.add(documents[0])
        let differing = clock.measure { shelf.add(documents[1]) }
        let diff = try #require(shelf.diff(from: documents[0].digest))
        var made: ConsensusDocument?
        let applying = try clock.measure {
            made = try documents[0].applying(ConsensusDiffChain(parsing: diff))
        }
        #expect(made == documents[1])
        #expect(diff.count < bytes.count / 10)
        print(
            "measured: \(count) relays: registering \(registering), four votes made and read"
                + " \(signing / 2), counting \(counting / 2), document \(bytes.count) bytes,"
                + " diff \(diff.count) bytes made in \(differing), applied in \(applying),"
                + " decoded and verified in \(reading)"
        )
    }
}

private enum Scale {
    static let isAsked = CommandLineSetting.has("UMBEL_SCALE")
}
