import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

@Suite("Diffs lead from one document to the next")
struct DiffTests {
    /// Documents one after the other, in each of which some relays come, go or change.
    static func chain(_ count: Int, seed: String = "chain") throws -> [ConsensusDocument] {
        let sample = try SampleNetwork()
        var generator = randomGenerator(seed)
        var documents: [ConsensusDocument] = []
        var log = DirectoryLog()
        for number in 0..<count {
            let time = sample.start + UInt64(number) * 10
            var descriptors: [SignedDescriptor] = []
            for index in 0..<20 where generator.next(below: 5) > 0 {
                var descriptor = try sample.descriptor(index)
                if generator.next(below: 3) == 0 { descriptor.bandwidthKilobits += UInt32(number) }
                descriptors.append(try sample.signed(descriptor, index))
            }
            let outcome = try sample.builder(at: time, log: log).body(from: descriptors)
            let document = try sample.sign(ConsensusDocument(body: outcome.body), [0, 1, 2])
            log.append(document.digest)
            documents.append(document)
        }
        return documents
    }

    @Test("a chain of diffs from any of the last 24 documents makes the newest one, byte for byte")
    func apply() throws {
        let documents = try Self.chain(30)
        var shelf = DirectoryShelf()
        for document in documents { shelf.add(document) }
        let newest = try #require(documents.last)
        #expect(shelf.newestBytes == newest.encoded())
        for (index, document) in documents.dropLast().enumerated() {
            guard let bytes = shelf.diff(from: document.digest) else {
                #expect(index < documents.count - 1 - ConsensusDiffChain.maximumCount)
                continue
            }
            #expect(index >= documents.count - 1 - ConsensusDiffChain.maximumCount)
            let chain = try ConsensusDiffChain(parsing: bytes)
            #expect(try chain.encoded() == bytes)
            let made = try document.applying(chain)
            #expect(made == newest)
            #expect(made.encoded() == newest.encoded())
        }
        #expect(shelf.diff(from: newest.digest) == [])
        #expect(shelf.diff(from: .zero) == nil)
    }

    @Test("a diff that is spoilt anywhere makes no document, or the true one")
    func spoilt() throws {
        let documents = try Self.chain(3, seed: "spoilt")
        let root = try SampleNetwork().root
        var shelf = DirectoryShelf()
        for document in documents { shelf.add(document) }
        let bytes = try #require(shelf.diff(from: documents[0].digest))
        var generator = randomGenerator("spoil")
        for _ in 0..<400 {
            var copy = bytes
            let index = Int(generator.next(below: UInt64(copy.count)))
            copy[index] ^= UInt8(1 << generator.next(below: 8))
            guard let chain = try? ConsensusDiffChain(parsing: copy),
                let made = try? documents[0].applying(chain)
            else { continue }
            // Only signatures can differ then, and those are verified.
            #expect(made.digest == documents[2].digest)
            #expect(root.signers(of: made).count >= 2)
        }
        for length in stride(from: 0, to: bytes.count, by: 97) {
            #expect(throws: WireError.self) {
                try ConsensusDiffChain(parsing: Array(bytes.prefix(length)))
            }
        }
    }

    @Test("a diff of another document is refused")
    func otherBase() throws {
        let documents = try Self.chain(3, seed: "base")
        var shelf = DirectoryShelf()
        for document in documents { shelf.add(document) }
        let bytes = try #require(shelf.diff(from: documents[1].digest))
        let chain = try ConsensusDiffChain(parsing: bytes)
        #expect(throws: DirectoryError.malformed(.invalid(field: "diff base"))) {
            try documents[0].applying(chain)
        }
    }

    @Test("parts of any size put together are the whole", arguments: [0, 1, 2] as [UInt8])
    func parts(kind: UInt8) throws {
        let documents = try Self.chain(4, seed: "parts")
        var shelf = DirectoryShelf()
        for document in documents { shelf.add(document) }
        let kind = try #require(DirectoryAsk.Kind(rawValue: kind))
        let (digest, whole): (Bytes32, [UInt8]) =
            switch kind {
            case .newest: (.zero, documents[3].encoded())
            case .diff: (documents[1].digest, try #require(shelf.diff(from: documents[1].digest)))
            case .document: (documents[2].digest, documents[2].encoded())
            case .proof: (.zero, shelf.proof ?? [])
            }
        var bytes: [UInt8] = []
        while bytes.count < whole.count {
            let offset = UInt32(bytes.count)
            let part = shelf.part(DirectoryAsk(kind: kind, digest: digest, offset: offset))
            #expect(part.status == .bytes && part.offset == offset)
            #expect(Int(part.total) == whole.count)
            try #require(!part.bytes.isEmpty)
            bytes += part.bytes
        }
        #expect(bytes == whole)
        let beyond = shelf.part(DirectoryAsk(kind: kind, digest: digest, offset: .max))
        #expect(beyond.bytes.isEmpty)
        let unknown = DirectoryAsk(kind: .document, digest: .zero, offset: 0)
        #expect(shelf.part(unknown).status == .none)
    }
}
