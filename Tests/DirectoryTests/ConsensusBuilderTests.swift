import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

@Suite("From descriptors to a consensus")
struct ConsensusBuilderTests {
    let sample: SampleNetwork

    init() throws {
        sample = try SampleNetwork()
    }

    @Test("the order descriptors come in does not matter")
    func deterministic() throws {
        let descriptors = try sample.descriptors(12)
        let outcome = try sample.builder().body(from: descriptors)
        #expect(try sample.builder().body(from: descriptors.reversed()) == outcome)
        #expect(try sample.builder().body(from: descriptors + descriptors).body == outcome.body)
        #expect(outcome.listedCount == 12)
        #expect(outcome.omissions.isEmpty)
    }

    @Test("a record says what its descriptor said")
    func fields() throws {
        let descriptor = try sample.descriptor(15)
        let document = try sample.document(relayCount: 16)
        let view = try sample.root.verify(document, at: sample.start)
        let relay = try #require(view.relay(descriptor.id))
        #expect(relay.circuitKey == descriptor.circuitKey)
        #expect(relay.addresses == descriptor.addresses)
        #expect(relay.weight == descriptor.bandwidthKilobits)
        #expect(relay.country == descriptor.country)
        #expect(relay.policy == descriptor.policy)
        #expect(relay.nickname == descriptor.nickname)
        #expect(relay.family != nil)
        #expect(relay.family == view.relay(try sample.descriptor(5).id)?.family)
        #expect(view.relay(try sample.descriptor(1).id)?.family == nil)
    }

    @Test("what is invalid, too old, ahead or without a key is left out and named")
    func omissions() throws {
        let changes: [((inout Descriptor) -> Void, OmissionReason)] = [
            ({ $0.publishedMinute += 66 }, .publishedInFuture),
            ({ $0.publishedMinute -= 1_440 }, .tooOld),
            ({ $0.circuitKeyExpiryMinute -= 1_440 }, .circuitKeyExpired),
        ]
        for (change, reason) in changes {
            var descriptor = try sample.descriptor(0)
            change(&descriptor)
            let outcome = try sample.builder().body(
                from: [sample.signed(descriptor, 0), sample.signed(sample.descriptor(1), 1)]
            )
            #expect(outcome.listedCount == 1)
            #expect(outcome.omissions.map(\.id) == [descriptor.id])
            #expect(outcome.omissions.map(\.reason) == [reason])
        }
        var bytes = try sample.signed(sample.descriptor(0), 0).encoded()
        bytes[200] ^= 1
        let forged = try SignedDescriptor(parsing: bytes)
        let outcome = try sample.builder().body(from: [forged])
        #expect(outcome.listedCount == 0)
        #expect(
            outcome.omissions.map(\.reason) == [
                .unverified(.descriptor(forged.descriptor.id, .badSignature))
            ]
        )
    }

    @Test("of two descriptors the newer counts, and two of one minute cancel each other")
    func newest() throws {
        var newer = try sample.descriptor(0)
        newer.publishedMinute += 1
        newer.nickname = "newer"
        let old = try sample.signed(sample.descriptor(0), 0)
        let new = try sample.signed(newer, 0)
        let outcome = try sample.builder().body(from: [old, new, new])
        #expect(try Consensus(parsing: outcome.body).relays.map(\.nickname) == ["newer"])
        #expect(Set(outcome.omissions.map(\.reason)) == [.superseded, .duplicate])
        var twin = newer
        twin.nickname = "twin"
        let twins = try sample.builder().body(from: [old, new, sample.signed(twin, 0)])
        #expect(twins.listedCount == 0)
        #expect(twins.omissions.filter { $0.reason == .contradicted }.count == 2)
    }

    @Test("one address is listed for one relay")
    func addresses() throws {
        var second = try sample.descriptor(1)
        second.addresses = try sample.descriptor(0).addresses
        let descriptors = [
            try sample.signed(sample.descriptor(0), 0), try sample.signed(second, 1),
        ]
        let outcome = try sample.builder().body(from: descriptors)
        let kept = min(descriptors[0].descriptor.id, second.id)
        #expect(try Consensus(parsing: outcome.body).relays.map(\.id) == [kept])
        guard case .addressTaken(_, let owner) = outcome.omissions.first?.reason else {
            Issue.record("the second relay is not reported")
            return
        }
        #expect(owner == kept)
    }

    @Test("a view finds every relay by identity and address, and no other")
    func view() throws {
        let view = try sample.root.verify(sample.document(relayCount: 20), at: sample.start)
        for relay in view.relays {
            #expect(view.relay(relay.id) == relay)
            for address in relay.addresses.all { #expect(view.relay(at: address) == relay) }
        }
        #expect(view.relay(NodeID(.zero)) == nil)
        #expect(view.relay(at: SocketAddress(ip: IPAddress(v4: 1), port: 1)) == nil)
        #expect(view.shortDigest == Array(view.digest.bytes.prefix(16)))
        #expect(view.freshness(at: sample.start + 9) == .fresh)
        #expect(view.freshness(at: sample.start + 10) == .stale)
        #expect(view.freshness(at: sample.start + 30) == .expired)
    }

    @Test("documents name the one before and the log that holds it")
    func chain() throws {
        var log = DirectoryLog()
        let first = try sample.document(log: log)
        #expect(first.consensus.previousDigest == .zero)
        log.append(first.digest)
        let second = try sample.document(at: sample.start + 10, log: log)
        #expect(second.consensus.previousDigest == first.digest)
        #expect(second.consensus.logSize == 1)
        #expect(second.consensus.logRoot == SHA256.digest([0], first.digest.bytes))
    }

    @Test("the log's root is that of the whole tree, for every size", arguments: 0..<40)
    func logRoot(size: Int) throws {
        let digests = (0..<size).map { SHA256.digest([UInt8($0)]) }
        var log = DirectoryLog()
        for digest in digests { log.append(digest) }
        #expect(log.root == Self.root(digests[...]))
        #expect(try DirectoryLog(parsing: log.encoded()) == log)
        let encoded = log.encoded()
        for count in 0..<encoded.count {
            #expect(throws: WireError.self) {
                try DirectoryLog(parsing: Array(encoded[..<count]))
            }
        }
    }

    /// RFC 6962, 2.1, word for word: split at the largest power of two below the size.
    private static func root(_ digests: ArraySlice<Bytes32>) -> Bytes32 {
        guard let first = digests.first else { return SHA256.digest([]) }
        guard digests.count > 1 else { return SHA256.digest([0], first.bytes) }
        var split = 1
        while split * 2 < digests.count { split *= 2 }
        let middle = digests.startIndex + split
        return SHA256.digest([1], root(digests[..<middle]).bytes, root(digests[middle...]).bytes)
    }
}
