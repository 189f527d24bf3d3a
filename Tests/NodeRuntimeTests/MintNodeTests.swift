import Base
import ControlAPI
import CryptoPrimitives
import Directory
import DirectoryHTTP
import EventLoop
import Foundation
import Logging
import NodeConfiguration
import Store
import Synchronization
import Testing
import Tickets
import Wire

@testable import NodeRuntime

/// An authority that signs whatever the mints announce to it.
private final class MintAuthority: DirectoryService {
    let root: TrustRoot
    let key = Ed25519.SigningKey(seed: Secret(copying: SHA256.digest(Array("a".utf8)).bytes))
    private let state = Mutex<(shelf: DirectoryShelf, mints: [UInt8: MintAnnouncement])>(
        (DirectoryShelf(), [:])
    )

    init() throws {
        root = try TrustRoot(
            network: NetworkID(SHA256.digest(Array("mints".utf8))),
            threshold: 1,
            authorities: [TrustRoot.Authority(index: 0, key: key.publicKey, name: "a0")]
        )
    }

    func answer(_ request: DirectoryRequest) async -> DirectoryAnswer {
        guard case .post(.announcement, let bytes) = request else {
            return state.withLock { $0.shelf.answer(request) }
        }
        guard let announcement = try? MintAnnouncement(parsing: bytes), announcement.isSigned else {
            return .refused("no announcement")
        }
        state.withLock { $0.mints[announcement.index] = announcement }
        return .accepted("taken")
    }

    var announcements: [MintAnnouncement] {
        state.withLock { Array($0.mints.values) }
    }

    /// Signs a document with the mints as they announced themselves last.
    func publish(_ parameters: NetworkParameters) throws {
        let consensus = Consensus(
            network: root.network,
            validAfter: WallClock.now(),
            freshUntil: WallClock.now() + 1,
            validUntil: WallClock.now() + 3_600,
            parameters: parameters,
            previousDigest: .zero,
            logSize: 0,
            logRoot: .zero,
            relays: [],
            mints: MintSection(announcements)
        )
        let document = try ConsensusDocument(body: try consensus.encoded())
        let signed = try document.adding(document.signature(by: 0, with: key))
        state.withLock { $0.shelf.add(signed) }
    }
}

@Suite("A mint that runs", .timeLimit(.minutes(3)))
struct MintNodeTests {
    private struct Fixture {
        var authority: MintAuthority
        var folder: String
        var parameters: NetworkParameters
        var admins: [Ed25519.SigningKey]
        var port: UInt16

        func configuration(port: UInt16) throws -> MintConfiguration {
            let file = "\(folder)/mint-\(port).toml"
            let text = """
                [node]
                state = "state"
                key = "mint.key"
                [listen]
                addresses = ["127.0.0.1:\(port)"]
                [directory]
                network = "network.toml"
                """
            try Data(text.utf8).write(to: URL(filePath: file))
            return try MintConfiguration(file: file)
        }

        /// Starts the mint, and waits until it is in a document it has itself.
        func start(port: UInt16) async throws -> (MintNode, TicketNetwork) {
            let node = try await MintNode.start(
                configuration(port: port),
                parameters: parameters,
                logger: Logger(label: "test")
            )
            var tickets: TicketNetwork?
            // It is announced before all its keys are drawn.
            try await eventually {
                guard authority.announcements.contains(where: { $0.addresses.first?.port == port })
                else { return false }
                tickets = TicketNetwork(
                    network: authority.root.network,
                    parameters: parameters,
                    announcements: authority.announcements
                )
                guard let tickets else { return false }
                let epoch = tickets.epoch(at: WallClock.now())
                return Denomination.allCases.allSatisfy {
                    tickets.key(of: 0, epoch: epoch, $0) != nil
                }
            }
            try authority.publish(parameters)
            try await eventually { await node.status().isListed }
            return (node, try #require(tickets))
        }
    }

    private static func eventually(_ isDone: () async throws -> Bool) async throws {
        for _ in 0..<600 {
            if try await isDone() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("it never comes to pass")
    }

    private static func freePort() throws -> UInt16 {
        // Held by nobody now, and far from what the system hands out.
        UInt16.random(in: 20_000...29_999)
    }

    private func with(_ body: (Fixture) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let authority = try MintAuthority()
        let server = DirectoryServer(
            address: SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: 0),
            limits: DirectoryLimits(bodyByteCounts: [
                .announcement: MintAnnouncement.maximumByteCount
            ]),
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
        let mint = Ed25519.SigningKey(seed: try KeyFile.create("\(folder)/mint.key"))
        let admins = (0..<2).map { index in
            Ed25519.SigningKey(seed: Secret(copying: SHA256.digest([50, UInt8(index)]).bytes))
        }
        let text = """
            network_id = "\(authority.root.network.rawValue.hex)"
            threshold = 1
            grant_threshold = 2
            [[authority]]
            index = 0
            name = "a0"
            key = "\(authority.key.publicKey.hex)"
            addresses = ["127.0.0.1:\(port)"]
            [[mint]]
            index = 0
            name = "m0"
            key = "\(mint.publicKey.hex)"

            """
            + admins.enumerated().map { index, key in
                "[[admin]]\nindex = \(index)\nname = \"d\(index)\"\nkey = \"\(key.publicKey.hex)\"\n"
            }.joined()
        try Data(text.utf8).write(to: URL(filePath: "\(folder)/network.toml"))
        var parameters = NetworkParameters.lab
        parameters.mintCount = 1
        parameters.intervalSeconds = 5
        parameters.ticketEpochSeconds = 86_400
        try await body(
            Fixture(
                authority: authority,
                folder: folder,
                parameters: parameters,
                admins: admins,
                port: port
            )
        )
    }

    private func grant(_ fixture: Fixture, to account: Bytes32) -> MintGrant {
        var grant = MintGrant(id: .zero, account: account, amount: Credits(ticks: 500))
        for (index, admin) in fixture.admins.enumerated() {
            grant.sign(as: UInt8(index), with: admin, network: fixture.authority.root.network)
        }
        return grant
    }

    private func order(
        _ account: Ed25519.SigningKey,
        _ tickets: TicketNetwork,
        blinded: [[UInt8]]
    ) -> MintOrder {
        var order = MintOrder(
            account: account.publicKey,
            sequence: 0,
            content: .withdraw(
                epoch: tickets.epoch(at: WallClock.now()),
                denomination: .trial,
                count: blinded.count,
                lists: [SHA256.digest(blinded.flatMap(\.self))]
            )
        )
        order.signature = account.sign(
            order.body,
            label: .order,
            network: tickets.network.rawValue
        )
        return order
    }

    @Test(
        "it gives the same signatures after it was ended and started again, and its keys stay"
    )
    func restart() async throws {
        try await with { fixture in
            let (node, tickets) = try await fixture.start(port: Self.freePort())
            let post = MintPost()
            let account = Ed25519.SigningKey(
                seed: Secret(copying: SHA256.digest(Array("client".utf8)).bytes)
            )
            let grant = grant(fixture, to: account.publicKey)
            #expect(try await post.ask(.grant(grant), of: 0, in: tickets) == .taken([]))
            let epoch = tickets.epoch(at: WallClock.now())
            let key = try #require(tickets.key(of: 0, epoch: epoch, .trial))
            let blinding = try key.blind(Array("a voucher".utf8))
            let order = order(account, tickets, blinded: [blinding.blinded])
            let request = MintRequest.order(
                order,
                certificates: [],
                blinded: [blinding.blinded]
            )
            let vote = try await post.ask(request, of: 0, in: tickets)
            guard case .vote(_, let signatures) = vote else {
                Issue.record("it does not vote: \(vote)")
                return
            }
            let signature = try key.finalize(
                try #require(signatures.first),
                of: Array("a voucher".utf8),
                with: blinding.opener
            )
            #expect(key.isValid(signature, of: Array("a voucher".utf8)))
            let before = await node.status()
            #expect(before.granted == 50_000)
            #expect(before.withdrawn == 1_600)
            #expect(before.balances == 48_400)
            #expect(before.epochs.first?.issued == 16)
            await node.stop()

            let (again, later) = try await fixture.start(port: Self.freePort())
            #expect(later.key(of: 0, epoch: epoch, .trial) == key)
            #expect(try await post.ask(request, of: 0, in: later) == vote)
            let after = await again.status()
            #expect(after.withdrawn == before.withdrawn)
            #expect(after.balances == before.balances)
            await again.stop()
        }
    }

    @Test("what is not sealed to it, is no request or is too long is refused and counted")
    func badRequests() async throws {
        try await with { fixture in
            let port = try Self.freePort()
            let (node, tickets) = try await fixture.start(port: port)
            let http = DirectoryClient()
            let address = SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: port)
            func status(_ bytes: [UInt8]) async -> Int? {
                do throws(DirectoryFetchError) {
                    _ = try await http.send(
                        .post(.request, bytes),
                        to: address,
                        limit: 1 << 20,
                        within: .seconds(10)
                    )
                    return 200
                } catch {
                    if case .refused(_, let status, _) = error { return status }
                    return nil
                }
            }
            let sealing = try #require(tickets.mints[0]?.sealingKey)
            let inquiry = MintRequest.inquiry(
                account: .zero,
                minute: 0,
                signature: [UInt8](repeating: 0, count: 64)
            )
            let good = try SealedRequest.seal(inquiry.encoded, to: sealing).bytes
            let other = X25519.PrivateKey(Secret(copying: SHA256.digest([9]).bytes)).publicKey
            var bad: [(String, [UInt8])] = [
                ("nothing", []), ("noise", [UInt8](repeating: 7, count: 300)),
                ("another mint's", try SealedRequest.seal(inquiry.encoded, to: other).bytes),
                ("no request", try SealedRequest.seal([99, 1, 2], to: sealing).bytes),
                ("cut off", Array(good.dropLast())),
            ]
            var flipped = good
            flipped[good.count / 2] ^= 1
            bad.append(("changed", flipped))
            for (name, bytes) in bad {
                #expect(await status(bytes) == 403, "\(name)")
            }
            #expect(await node.status().counters["unreadable"] == UInt64(bad.count))
            let long = [UInt8](repeating: 0, count: TicketLimits.exchangeByteCount + 1_000)
            #expect(await status(long) == 413)
            // It opens, and its signature is none.
            #expect(await status(good) == 200)
            #expect(await node.status().counters["refused_malformed"] == 1)
            let answer = try await http.send(
                .newest,
                to: address,
                limit: 1_000,
                within: .seconds(10)
            )
            #expect(answer == .notFound)
            await node.stop()
        }
    }

    @Test("a second mint on the same ledger does not start, and says why")
    func secondProcess() async throws {
        try await with { fixture in
            let (node, _) = try await fixture.start(port: Self.freePort())
            let error = await #expect(throws: (any Error).self) {
                _ = try await MintNode.start(
                    fixture.configuration(port: Self.freePort()),
                    parameters: fixture.parameters,
                    logger: Logger(label: "test")
                )
            }
            #expect("\(try #require(error))".contains("in use"))
            await node.stop()
        }
    }
}

@Suite("Wallets in sealed files", .timeLimit(.minutes(2)))
struct WalletArchiveTests {
    @Test("a backup comes back whole by its passphrase alone, and into an empty folder alone")
    func roundTrip() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try StateFolder.make("\(folder)/old")
        let files = try WalletFiles(folder: "\(folder)/old", account: nil)
        let writes = [
            RecordWrite(table: 20, key: [0], value: [1, 2, 3]),
            RecordWrite(table: 23, key: [7, 8], value: [UInt8](repeating: 9, count: 1_000)),
        ]
        try files.store.apply(writes)
        let passphrase = Array("correct horse".utf8)
        let (salt, key) = try WalletArchive.newKey(passphrase)
        let sealed = try WalletArchive.seal(
            seed: try KeyFile.bytes(files.keyPath),
            records: try files.store.records(),
            key: key
        )
        let file = WalletArchive.file(salt: salt, sealed: sealed)
        func problem(_ file: [UInt8], _ passphrase: [UInt8], _ name: String)
            -> WalletArchive.Problem?
        {
            do {
                _ = try WalletArchive.restore(
                    file,
                    passphrase: passphrase,
                    into: "\(folder)/\(name)"
                )
                return nil
            } catch {
                return error as? WalletArchive.Problem
            }
        }
        #expect(problem(file, Array("correct horsf".utf8), "new") == .locked)
        var changed = file
        changed[file.count - 20] ^= 1
        #expect(problem(changed, passphrase, "new") == .locked)
        #expect(problem(Array(file.dropFirst()), passphrase, "new") == .malformed)
        #expect(problem(file, passphrase, "old") == .occupied("\(folder)/old/account.key"))
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/new"))
        let account = try WalletArchive.restore(
            file,
            passphrase: passphrase,
            into: "\(folder)/new"
        )
        #expect(account == files.key.publicKey)
        let again = try WalletFiles(folder: "\(folder)/new", account: nil)
        #expect(again.key.publicKey == account)
        #expect(try again.store.records().map(\.value) == writes.map { $0.value ?? [] })
    }
}
