import Base
import CryptoPrimitives
import Directory
import DirectoryHTTP
import EventLoop
import Foundation
import Logging
import NodeConfiguration
import Synchronization
import Testing
import Wire

@testable import NodeRuntime

/// Authorities of a test: they sign whatever they are asked to, and one server hands it out.
private final class Authority: DirectoryService {
    let root: TrustRoot
    let keys: [Ed25519.SigningKey]
    let shelf = Mutex(DirectoryShelf())
    let asked = Mutex<[DirectoryRequest]>([])

    init() throws {
        keys = (0..<4).map { index in
            Ed25519.SigningKey(seed: Secret(copying: SHA256.digest([UInt8(index)]).bytes))
        }
        root = try TrustRoot(
            network: NetworkID(SHA256.digest(Array("keeper".utf8))),
            threshold: 3,
            authorities: keys.enumerated().map { index, key in
                TrustRoot.Authority(index: UInt8(index), key: key.publicKey, name: "a\(index)")
            }
        )
    }

    func answer(_ request: DirectoryRequest) async -> DirectoryAnswer {
        asked.withLock { $0.append(request) }
        return shelf.withLock { $0.answer(request) }
    }

    /// A document of relays with these numbers.
    func document(
        _ relays: [UInt8],
        at time: WallTime,
        validSeconds: UInt32 = 3_600,
        signers: [Int] = [0, 1, 2]
    ) throws -> ConsensusDocument {
        var parameters = NetworkParameters.lab
        parameters.validSeconds = validSeconds
        parameters.freshSeconds = 1
        parameters.intervalSeconds = 1
        let descriptors = try relays.map { number in
            let key = Ed25519.SigningKey(seed: Secret(copying: SHA256.digest([9, number]).bytes))
            return try SignedDescriptor(
                signing: Descriptor(
                    network: root.network,
                    id: NodeID(key.publicKey),
                    circuitKey: [UInt8](repeating: number, count: 1_216),
                    circuitKeyExpiryMinute: time.minute + 1_440,
                    publishedMinute: time.minute,
                    addresses: try RelayAddresses(
                        // Nobody answers at port 1 of the loopback range.
                        v4: SocketAddress(ip: IPAddress(v4: 0x0a00_0000 | UInt32(number)), port: 1),
                        v6: nil
                    ),
                    flags: .guardCapable,
                    bandwidthKilobits: 1,
                    nickname: "r\(number)"
                ),
                with: key
            )
        }
        let outcome = try ConsensusBuilder(
            network: root.network,
            parameters: parameters,
            validAfter: time
        ).body(from: descriptors)
        return try signers.reduce(ConsensusDocument(body: outcome.body)) { document, index in
            try document.adding(document.signature(by: UInt8(index), with: keys[index]))
        }
    }
}

@Suite("A node keeps its directory", .timeLimit(.minutes(2)))
struct DirectoryKeeperTests {
    private struct Fixture {
        var authority: Authority
        var network: NetworkConfiguration
        var folder: String

        func keeper(
            file: String? = nil,
            isClient: Bool = true
        ) -> (DirectoryKeeper, AsyncStream<DirectoryNews>) {
            let (news, tell) = AsyncStream.makeStream(of: DirectoryNews.self)
            let keeper = DirectoryKeeper(
                DirectoryKeeper.Settings(
                    network: network,
                    file: file,
                    stateFolder: folder,
                    isClient: isClient
                ),
                root: authority.root,
                logger: Logger(label: "test")
            ) { tell.yield($0) }
            return (keeper, news)
        }
    }

    private func with(_ body: (Fixture) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let authority = try Authority()
        let server = DirectoryServer(
            address: SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: 0),
            limits: DirectoryLimits(bodyByteCounts: [:]),
            logger: Logger(label: "test")
        )
        let (ports, tell) = AsyncStream.makeStream(of: UInt16.self)
        // Ends with the process: see the server.
        Task {
            try await server.serve(authority) { port in
                tell.yield(port)
                tell.finish()
            }
        }
        var port: UInt16 = 0
        for await found in ports { port = found }
        let text = authority.keys.enumerated().map { index, key in
            """
            [[authority]]
            index = \(index)
            name = "a\(index)"
            key = "\(key.publicKey.hex)"
            addresses = ["127.0.0.1:\(port)"]

            """
        }.joined()
        let file = "\(folder)/network.toml"
        let head = "network_id = \"\(authority.root.network.rawValue.hex)\"\nthreshold = 3\n"
        try Data((head + text).utf8).write(to: URL(filePath: file))
        let fixture = Fixture(
            authority: authority,
            network: try NetworkConfiguration(file: file),
            folder: folder
        )
        try await body(fixture)
    }

    /// Runs a keeper until `body` has what it wants of its news.
    private func run(
        _ keeper: DirectoryKeeper,
        _ news: AsyncStream<DirectoryNews>,
        until body: (DirectoryNews) async throws -> Bool
    ) async throws {
        let keeping = Task { await keeper.run() }
        defer { keeping.cancel() }
        for await item in news where try await body(item) { return }
    }

    private var now: WallTime { WallClock.now() }

    @Test("it fetches the whole document once, then diffs, and survives a restart")
    func fetching() async throws {
        try await with { fixture in
            let first = try fixture.authority.document([1, 2, 3], at: now)
            fixture.authority.shelf.withLock { $0.add(first) }
            let (keeper, news) = fixture.keeper(isClient: false)
            var digests: [Bytes32] = []
            try await run(keeper, news) { item in
                guard case .view(let view, _) = item else { return false }
                digests.append(view.digest)
                guard digests.count == 1 else { return true }
                #expect(view.relays.count == 3)
                let next = try fixture.authority.document(
                    [2, 3, 4],
                    at: first.consensus.validAfter + 1
                )
                fixture.authority.shelf.withLock { $0.add(next) }
                return false
            }
            #expect(digests.count == 2)
            let asked = fixture.authority.asked.withLock { $0 }
            #expect(asked.filter { $0 == .newest }.count == 1)
            #expect(asked.contains(.diff(from: first.digest)))
            // What was believed is there at the next start, before anybody is asked.
            let (again, later) = fixture.keeper()
            try await run(again, later) { item in
                guard case .view(let view, _) = item else { return false }
                #expect(view.digest == digests[1])
                return true
            }
            #expect(await again.source == "the disk")
        }
    }

    @Test("a document too few signed, or an old one, is refused and the reason told")
    func refusing() async throws {
        try await with { fixture in
            let weak = try fixture.authority.document([1], at: now, signers: [0, 1])
            fixture.authority.shelf.withLock { $0.add(weak) }
            let (keeper, news) = fixture.keeper(isClient: false)
            try await run(keeper, news) { item in
                guard case .refused(let reason) = item else { return false }
                #expect(reason.contains("2 of 3 needed signatures; missing: a2, a3"))
                return true
            }
            #expect(await keeper.document == nil)
        }
    }

    @Test("a file serves where nobody can be asked")
    func file() async throws {
        try await with { fixture in
            let path = "\(fixture.folder)/consensus"
            let document = try fixture.authority.document([1, 2], at: now)
            try Data(document.encoded()).write(to: URL(filePath: path))
            let (keeper, news) = fixture.keeper(file: path)
            try await run(keeper, news) { item in
                guard case .view(let view, _) = item else { return false }
                #expect(view.digest == document.digest)
                return true
            }
        }
    }

    @Test(
        "a relay that shows another document for the hour raises the alarm, which is kept (row 52)"
    )
    func equivocation() async throws {
        try await with { fixture in
            let time = now
            let first = try fixture.authority.document([1, 2, 3], at: time)
            let second = try fixture.authority.document([2, 3, 4], at: time, signers: [1, 2, 3])
            fixture.authority.shelf.withLock { $0.add(first) }
            let (keeper, news) = fixture.keeper(isClient: false)
            var hasCompared = false
            try await run(keeper, news) { item in
                switch item {
                case .view where !hasCompared:
                    hasCompared = true
                    await keeper.compare(
                        validAfter: time,
                        digestPrefix: Array(second.digest.bytes.prefix(16)),
                        relay: "r3"
                    ) { request in
                        #expect(
                            request
                                == .document(digestPrefix: Array(second.digest.bytes.prefix(16)))
                        )
                        return .bytes(second.encoded())
                    }
                    return false
                case .view(let view, _):
                    #expect(view.relays.map(\.nickname).sorted() == ["r2", "r3"])
                    return true
                case .alarm(let text):
                    #expect(text.contains("a1, a2"))
                    return false
                case .refused: return false
                }
            }
            let alarm = try #require(await keeper.alarm)
            #expect(alarm.contains("equivocation-\(time.seconds).proof"))
            // Whoever asks gets the proof, and can check it.
            guard case .bytes(let bytes, _) = await keeper.answer(.proof) else {
                Issue.record("no proof is handed out")
                return
            }
            let proof = try Equivocation(parsing: bytes, under: fixture.authority.root)
            #expect(proof.doubleSigners.map(\.name) == ["a1", "a2"])
            #expect(await keeper.answer(.post(.proof, bytes)) == .accepted("known"))
            let (again, later) = fixture.keeper(isClient: false)
            try await run(again, later) { item in
                if case .alarm = item { true } else { false }
            }
        }
    }

    @Test(
        "a relay that cannot show what it named is told apart from one that is not heard (row 84)"
    )
    func liars() async throws {
        try await with { fixture in
            let time = now
            let document = try fixture.authority.document([1, 2, 3], at: time)
            let unsigned = try fixture.authority.document([7], at: time, signers: [0, 1])
            let older = try fixture.authority.document([8], at: WallTime(seconds: time.seconds - 9))
            fixture.authority.shelf.withLock { $0.add(document) }
            let (keeper, news) = fixture.keeper(isClient: false)
            try await run(keeper, news) { item in
                guard case .view = item else { return false }
                let named = { (document: ConsensusDocument) in
                    Array(document.digest.bytes.prefix(16))
                }
                let cases: [(String, DirectoryFetched, [UInt8], isTrue: Bool)] = [
                    ("silent", .silent, named(unsigned), true),
                    ("refuses", .refused, named(unsigned), false),
                    ("noise", .bytes([1, 2, 3]), named(unsigned), false),
                    ("unsigned", .bytes(unsigned.encoded()), named(unsigned), false),
                    ("another", .bytes(document.encoded()), named(unsigned), false),
                    ("older", .bytes(older.encoded()), named(older), false),
                    ("same", .refused, named(document), true),
                ]
                for (name, answer, prefix, isTrue) in cases {
                    let found = await keeper.compare(
                        validAfter: time,
                        digestPrefix: prefix,
                        relay: name
                    ) { _ in answer }
                    #expect(found == isTrue, "\(name)")
                }
                // Within the hour nobody is asked again.
                let again = await keeper.compare(
                    validAfter: time,
                    digestPrefix: named(unsigned),
                    relay: "refuses"
                ) { _ in
                    Issue.record("asked twice in an hour")
                    return .refused
                }
                #expect(again)
                return true
            }
            #expect(await keeper.alarm == nil)
        }
    }

    @Test("a proof somebody sends raises the alarm, what is none is refused, one look at a time")
    func gossip() async throws {
        try await with { fixture in
            let time = now
            let first = try fixture.authority.document([1, 2, 3], at: time)
            let second = try fixture.authority.document([2, 3, 4], at: time, signers: [1, 2, 3])
            let weak = try fixture.authority.document([5], at: time, signers: [0])
            fixture.authority.shelf.withLock { $0.add(first) }
            let (keeper, news) = fixture.keeper(isClient: false)
            let proof = try #require(Equivocation(first, second, under: fixture.authority.root))
            let bytes = proof.encoded()
            var forged = Array(bytes.prefix(4 + first.encoded().count))
            forged += withUnsafeBytes(of: UInt32(weak.encoded().count).bigEndian) { Array($0) }
            forged += weak.encoded()
            var hasSent = false
            try await run(keeper, news) { item in
                switch item {
                case .view(let view, let shelf):
                    if !hasSent {
                        hasSent = true
                        guard case .refused = await keeper.answer(.post(.proof, forged)) else {
                            Issue.record("a forged proof is taken")
                            return true
                        }
                        // Looking is work: the next one waits.
                        guard case .unavailable = await keeper.answer(.post(.proof, bytes)) else {
                            Issue.record("looked at twice at once")
                            return true
                        }
                        #expect(await keeper.alarm == nil)
                        await keeper.forgetProofLook()
                        #expect(await keeper.answer(.post(.proof, bytes)) == .accepted(""))
                        return false
                    }
                    #expect(view.relays.map(\.nickname).sorted() == ["r2", "r3"])
                    #expect(shelf.proof == bytes)
                    let ask = DirectoryAsk(kind: .proof, digest: .zero, offset: 0)
                    #expect(shelf.part(ask).bytes == Array(bytes.prefix(4_000)))
                    return true
                case .alarm, .refused: return false
                }
            }
            #expect(await keeper.alarm?.contains("a1, a2") == true)
        }
    }
}
