import Base
import Directory
import Testing
import Wire

@Suite("Two documents for one interval")
struct EquivocationTests {
    @Test("the proof is found, stored, read again, and leaves what both documents say")
    func proof() throws {
        let sample = try SampleNetwork()
        let first = try sample.document(relayCount: 9, signers: [0, 1, 2])
        let second = try sample.document(relayCount: 6, signers: [1, 2, 3])
        var known = KnownDirectory(root: sample.root)
        #expect(try known.accept(first, at: sample.start))
        #expect(
            known.agrees(
                validAfter: sample.start,
                digestPrefix: Array(first.digest.bytes.prefix(16))
            )
        )
        #expect(
            !known.agrees(
                validAfter: sample.start,
                digestPrefix: Array(second.digest.bytes.prefix(16))
            )
        )
        #expect(throws: DirectoryError.self) { try known.accept(second, at: sample.start) }
        let proof = try #require(known.equivocation)
        #expect(proof.doubleSigners.map(\.name) == ["authority-1", "authority-2"])
        #expect(known.view?.relays.count == 6)
        let read = try Equivocation(parsing: proof.encoded(), under: sample.root)
        #expect(read == proof)
        // The next interval is another matter.
        var log = DirectoryLog()
        log.append(first.digest)
        let next = try sample.document(relayCount: 9, at: sample.start + 10, log: log)
        #expect(try known.accept(next, at: sample.start + 10))
        #expect(known.view?.relays.count == 9)
        #expect(known.equivocation == proof)
    }

    @Test("what is no proof is not read as one")
    func noProof() throws {
        let sample = try SampleNetwork()
        let first = try sample.document(relayCount: 9)
        let weak = try sample.document(relayCount: 6, signers: [3])
        #expect(Equivocation(first, weak, under: sample.root) == nil)
        #expect(Equivocation(first, first, under: sample.root) == nil)
        let second = try sample.document(relayCount: 6)
        let bytes = try #require(Equivocation(first, second, under: sample.root)).encoded()
        #expect(throws: DirectoryError.self) {
            try Equivocation(parsing: Array(bytes.dropLast()), under: sample.root)
        }
        let other = try SampleNetwork(authorityCount: 7, threshold: 5)
        #expect(throws: DirectoryError.self) {
            try Equivocation(parsing: bytes, under: other.root)
        }
    }
}
