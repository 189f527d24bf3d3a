import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

@Suite("Documents as bytes (matrix rows 14, 16, 55)")
struct ConsensusDocumentTests {
    let sample: SampleNetwork

    init() throws {
        sample = try SampleNetwork()
    }

    @Test("what is read and written again is the same bytes", arguments: [0, 1, 2, 9, 40])
    func canonical(relayCount: Int) throws {
        let bytes = try sample.document(relayCount: relayCount).encoded()
        let document = try ConsensusDocument(parsing: bytes)
        #expect(document.encoded() == bytes)
        #expect(try document.consensus.encoded() == document.body)
        #expect(document.consensus.relays.count == relayCount)
    }

    @Test("a document cut short anywhere is refused")
    func truncated() throws {
        let bytes = try sample.document(relayCount: 2).encoded()
        for count in 0..<bytes.count {
            #expect(throws: DirectoryError.self) {
                try ConsensusDocument(parsing: Array(bytes[..<count]))
            }
        }
        #expect(throws: DirectoryError.malformed(.trailing(byteCount: 1))) {
            try ConsensusDocument(parsing: bytes + [0])
        }
    }

    @Test("a body cut short anywhere is refused by itself too")
    func truncatedBody() throws {
        let body = try sample.document(relayCount: 2).body
        for count in 0..<body.count {
            #expect(throws: WireError.self) { try Consensus(parsing: Array(body[..<count])) }
        }
    }

    @Test("a document with any one byte changed is refused or lacks a signature")
    func everyByte() throws {
        let document = try sample.document(relayCount: 2)
        let bytes = document.encoded()
        var parsedCount = 0
        for index in bytes.indices {
            var mutated = bytes
            mutated[index] ^= 1 << UInt8(index % 8)
            guard let parsed = try? ConsensusDocument(parsing: mutated) else { continue }
            parsedCount += 1
            #expect(parsed.encoded() == mutated)
            #expect(throws: DirectoryError.self) {
                try sample.root.verify(parsed, at: sample.start)
            }
        }
        #expect(parsedCount > 2_000, "most bytes are keys: they parse and must not verify")
    }

    @Test("bytes changed at random never trap and never verify", arguments: 0..<4)
    func random(seed: Int) throws {
        let bytes = try sample.document(relayCount: 6).encoded()
        var generator = randomGenerator("mutation \(seed)")
        for _ in 0..<500 {
            var mutated = bytes
            for _ in 0...generator.next(below: 8) {
                let index = Int(generator.next(below: UInt64(mutated.count)))
                switch generator.next(below: 4) {
                case 0: mutated[index] = UInt8(generator.next(below: 256))
                case 1: mutated[index] = 0xff
                case 2: mutated.remove(at: index)
                default: mutated.insert(UInt8(generator.next(below: 256)), at: index)
                }
            }
            guard mutated != bytes, let parsed = try? ConsensusDocument(parsing: mutated) else {
                continue
            }
            #expect(parsed.encoded() == mutated)
            #expect((try? sample.root.verify(parsed, at: sample.start)) == nil)
        }
    }

    @Test("random bytes are never a document", arguments: 0..<4)
    func noise(seed: Int) {
        var generator = randomGenerator("noise \(seed)")
        for _ in 0..<2_000 {
            let bytes = (0..<generator.next(below: 600)).map { _ in
                UInt8(generator.next(below: 256))
            }
            #expect((try? ConsensusDocument(parsing: bytes)) == nil)
            #expect((try? SignedDescriptor(parsing: bytes)) == nil)
        }
    }

    @Test(
        "a count beyond the bytes that are there is refused before memory is set aside",
        arguments: [2, 100_000, 100_001, UInt32.max]
    )
    func hugeCount(count: UInt32) throws {
        let body = try sample.document(relayCount: 0).body
        var patched = Array(body.dropLast(4))
        patched += (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
        patched += [UInt8](repeating: 0, count: 1_400)
        #expect {
            try Consensus(parsing: patched)
        } throws: { error in
            switch error as? WireError {
            case .tooLarge(field: "record count", value: UInt64(count), limit: 100_000):
                count > 100_000
            case .truncated(neededByteCount: Int(count) * 1_294, foundByteCount: 1_400):
                count <= 100_000
            default: false
            }
        }
    }

    @Test("a body length beyond the limit or the document is refused")
    func hugeBody() {
        #expect(throws: DirectoryError.self) {
            try ConsensusDocument(parsing: [0xff, 0xff, 0xff, 0xff, 1])
        }
        #expect(
            throws: DirectoryError.malformed(
                .truncated(neededByteCount: 1 << 20, foundByteCount: 1)
            )
        ) {
            try ConsensusDocument(parsing: [0, 0x10, 0, 0, 1])
        }
    }

    @Test("more than 64 signatures are refused")
    func manySignatures() throws {
        let document = try sample.document(relayCount: 1, signers: [])
        let signatures = try (0..<65).map {
            try ConsensusSignature(index: UInt8($0), bytes: [UInt8](repeating: 7, count: 64))
        }
        let full = try signatures.dropLast().reduce(document) { try $0.adding($1) }
        #expect(full.signatures.count == 64)
        #expect(throws: DirectoryError.self) { try full.adding(signatures[64]) }
        var bytes = full.encoded()
        bytes[4 + document.body.count] = 65
        #expect(
            throws: DirectoryError.malformed(
                .tooLarge(field: "signatures", value: 65, limit: 64)
            )
        ) {
            try ConsensusDocument(parsing: bytes)
        }
    }

    @Test("records out of order or twice are refused by reader and writer")
    func order() throws {
        var consensus = try sample.document(relayCount: 3).consensus
        let body = try consensus.encoded()
        let first = consensus.relays[0]
        consensus.relays = [first, first]
        #expect(throws: WireError.invalid(field: "record order")) { try consensus.encoded() }
        // The same two records by hand: the reader sees them after a count of two.
        consensus.relays = [first]
        let single = try consensus.encoded()
        let record = Array(single[(single.count - recordByteCount(single, body))...])
        var doubled = Array(single.dropLast(record.count + 4)) + [0, 0, 0, 2]
        doubled += record + record
        #expect(throws: WireError.invalid(field: "record order")) {
            try Consensus(parsing: doubled)
        }
    }

    /// Bytes of the one record in `single`: what it has beyond a document without relays.
    private func recordByteCount(_ single: [UInt8], _ body: [UInt8]) -> Int {
        guard var empty = try? Consensus(parsing: body) else { return 0 }
        empty.relays = []
        return single.count - ((try? empty.encoded().count) ?? 0)
    }

    @Test("signatures over one body come together, over two they do not")
    func merging() throws {
        let first = try sample.document(signers: [0, 2])
        let second = try sample.document(signers: [2, 1])
        let merged = try first.merging(second)
        #expect(merged.signatures.map(\.index) == [0, 1, 2])
        #expect(try second.merging(first).encoded() == merged.encoded())
        let other = try sample.document(relayCount: 8)
        #expect(throws: DirectoryError.differentBodies(first.digest, other.digest)) {
            try first.merging(other)
        }
    }

    @Test("a document of 10,000 relays is read in less than a second")
    func large() throws {
        let document = try LargeDocument.make(relayCount: 10_000)
        let clock = ContinuousClock()
        var parsed: ConsensusDocument?
        let duration = try clock.measure { parsed = try ConsensusDocument(parsing: document) }
        #expect(parsed?.consensus.relays.count == 10_000)
        #if !DEBUG
            #expect(duration < .seconds(1))
        #endif
    }

    @Test("parameters this version does not know survive, those out of range do not")
    func parameters() throws {
        var other = sample
        other.parameters.unknown = [.init(id: 6, value: 77), .init(id: 60_000, value: 1)]
        let document = try other.document()
        #expect(document.consensus.parameters == other.parameters)
        for field in NetworkParameters.fields where field.range.upperBound < .max {
            var broken = NetworkParameters.production
            #expect(throws: WireError.invalid(field: field.name)) {
                try broken.set(field.name.description, to: field.range.upperBound + 1)
            }
        }
        other.parameters.unknown = [.init(id: 1, value: 1)]
        #expect(throws: DirectoryError.malformed(.invalid(field: "parameters"))) {
            try other.document()
        }
        var contradiction = NetworkParameters.lab
        contradiction.freshSeconds = 31
        #expect(throws: WireError.invalid(field: "valid-seconds")) {
            try contradiction.validate()
        }
    }

    @Test("both sets of parameters are valid, and names reach every one of them")
    func names() throws {
        for var parameters in [NetworkParameters.production, .lab] {
            try parameters.validate()
            for field in NetworkParameters.fields {
                let value = try #require(parameters[field.name.description])
                try parameters.set(field.name.description, to: value)
            }
        }
        #expect(NetworkParameters.production["no-such-name"] == nil)
        #expect(Set(NetworkParameters.fields.map(\.id)).count == NetworkParameters.fields.count)
    }
}

/// A document too large to sign descriptors for one by one.
enum LargeDocument {
    static func make(relayCount: Int) throws -> [UInt8] {
        let sample = try SampleNetwork()
        var consensus = try sample.document(relayCount: 1).consensus
        let model = consensus.relays[0]
        consensus.relays = (0..<relayCount).map { index in
            var relay = model
            let words = [UInt64(index), 0, 0, 0].flatMap { word in
                (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) }
            }
            relay.id = NodeID(Bytes32(words) ?? .zero)
            return relay
        }
        return try sample.sign(ConsensusDocument(body: consensus.encoded()), [0, 1, 2]).encoded()
    }
}
