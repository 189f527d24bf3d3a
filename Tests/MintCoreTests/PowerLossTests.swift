import Base
import CCrashVFS
import CryptoPrimitives
import Foundation
import Store
import TestSupport
import Testing
import Tickets
import Wire

@testable import MintCore

@Suite("A mint whose power goes", .timeLimit(.minutes(5)))
struct PowerLossTests {
    /// A mint on a real file: what it said, until its disk fails.
    private final class Mint {
        let store: RecordStore
        var control: MintControl
        var replies: [UInt64: MintReply] = [:]

        init(_ path: String, world: MintWorld) throws {
            store = try RecordStore(path: path)
            control = try MintControl(
                identity: MintControl.Identity(
                    network: MintWorld.network,
                    index: 0,
                    key: world.mintKeys[0],
                    admins: world.admins.map(\.publicKey),
                    grantThreshold: 2
                ),
                records: try store.records()
            )
            control.setTickets(world.tickets)
        }

        func ask(_ request: MintRequest, token: UInt64, at wall: WallTime) -> MintReply? {
            control.receive(request, token: token, at: wall)
            while let action = control.nextAction() {
                switch action {
                case .commit(let writes):
                    do throws(StoreError) {
                        try store.apply(writes)
                        control.committed(true)
                    } catch {
                        control.committed(false)
                    }
                case .reply(let token, let reply): replies[token] = reply
                case .job(let job): control.finish(job.run(), at: wall)
                case .tell, .announce: break
                }
            }
            return replies[token]
        }
    }

    private func requests(_ world: MintWorld) throws -> [MintRequest] {
        var grant = MintGrant(
            id: .zero,
            account: world.account.publicKey,
            amount: Credits(ticks: 100)
        )
        for (index, admin) in world.admins.enumerated().prefix(2) {
            grant.sign(as: UInt8(index), with: admin, network: MintWorld.network)
        }
        var requests = [MintRequest.grant(grant)]
        var certificates: [OrderCertificate] = []
        for sequence in UInt64(0)..<4 {
            var order = MintOrder(
                account: world.account.publicKey,
                sequence: sequence,
                content: .transfer(to: world.relay.rawValue, amount: Credits(ticks: 10))
            )
            order.signature = world.account.sign(
                order.body,
                label: .order,
                network: MintWorld.network.rawValue
            )
            requests.append(
                .order(order, certificates: Array(certificates.suffix(1)), blinded: [])
            )
            let digest = SHA256.digest(order.encoded).bytes
            certificates.append(
                OrderCertificate(
                    order: order,
                    votes: (0..<3).map { index in
                        MintVote(
                            mint: UInt8(index),
                            signature: world.mintKeys[index].sign(
                                digest,
                                label: .vote,
                                network: MintWorld.network.rawValue
                            )
                        )
                    }
                )
            )
        }
        return requests
    }

    @Test(
        "row 60: what was answered is on the disk, whenever the power goes; nothing is paid twice"
    )
    func cuts() throws {
        let world = try MintWorld(seed: 1)
        let requests = try requests(world)
        var call = 1
        var cuts = 0
        while true {
            let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = "\(folder)/ledger.sqlite"
            let disk = try #require(crash_vfs_watch(folder))
            crash_vfs_cut(disk, call, UInt64(call))
            var said: [MintReply?] = []
            if let mint = try? Mint(path, world: world) {
                for (index, request) in requests.enumerated() {
                    said.append(mint.ask(request, token: UInt64(index + 1), at: world.wall))
                }
                try? mint.store.close()
            }
            crash_vfs_unwatch(disk)
            guard crash_vfs_is_off(disk) == 1 else { break }
            cuts += 1
            let mint = try Mint(path, world: world)
            #expect(mint.control.ledger.isConsistent(in: world.tickets), "cut at call \(call)")
            for (index, request) in requests.enumerated() {
                let again = mint.ask(request, token: UInt64(index + 1), at: world.wall)
                if index < said.count, let before = said[index], case .vote = before {
                    #expect(again == before, "cut at call \(call): another answer to \(index)")
                }
            }
            #expect(
                mint.control.ledger.balance(of: world.account.publicKey) == Credits(ticks: 60),
                "cut at call \(call)"
            )
            #expect(mint.control.ledger.isConsistent(in: world.tickets), "cut at call \(call)")
            try mint.store.close()
            call += 1
        }
        #expect(cuts > 20)
    }
}
