import Base
import Circuits
import CryptoPrimitives
import EventLoop
import Foundation
import Logging
import RelayCore
import Store
import Testing
import Wire

@testable import NodeRuntime

@Suite("Commands of a relay's control thread")
struct CommandBatchTests {
    @Test("those of one turn reach the packet thread as one message", .timeLimit(.minutes(1)))
    func together() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try StateFolder.make(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let controlWakeup = try Wakeup()
        let shardWakeup = try Wakeup()
        let mailbox = Mailbox<RelayControlMessage>(capacity: 16, wakeup: controlWakeup)
        let shard = Mailbox<RelayLoopMessage>(capacity: 16, wakeup: shardWakeup)
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 9, count: 32)))
        let key = try XWing.PrivateKey(seed: random.secret(byteCount: 32))
        let loop = RelayControlLoop(
            control: RelayControl(
                identity: RelayControl.Identity(
                    network: NetworkID(.zero),
                    signingKey: Ed25519.SigningKey(seed: random.secret(byteCount: 32)),
                    circuitKeys: [key]
                ),
                families: RelayControl.Families(v4: true, v6: false),
                now: MonotonicClock.now(),
                wall: WallClock.now(),
                random: random.split()
            ),
            memory: ReplayFile(stateFolder: folder),
            pool: try WorkerPool<RelayJob>(name: "test", count: 1) { _ in },
            mailbox: mailbox,
            wakeup: controlWakeup,
            shards: [shard],
            payments: try RelayPayments(
                try RecordStore(path: "\(folder)/vouchers.sqlite"),
                logger: Logger(label: "test")
            ) { _ in },
            keyLog: nil,
            logger: Logger(label: "test")
        )
        // Circuits it does not know: it answers each with a command to forget it.
        mailbox.insist(.events((1...3).map { .idle(CircuitID(rawValue: $0)) }, from: 0))
        _ = try LoopThread.start(name: "test-control", owning: loop) { try? $0.run() }
        var poller = try Poller()
        try poller.add(shardWakeup.descriptor, token: 0)
        var messages: [RelayLoopMessage] = []
        while messages.isEmpty {
            _ = try poller.wait(until: nil, now: MonotonicClock.now())
            _ = shardWakeup.drain()
            shard.drain(into: &messages)
        }
        try #require(messages.count == 1)
        guard case .commands(let commands) = messages[0] else {
            Issue.record("no commands came")
            return
        }
        #expect(commands.count == 3)
        mailbox.insist(.stop {})
    }
}
