import Base
import Circuits
import Flows
import Links
import RelayCore
import Testing
import Wire

@Suite("What one peer can make a relay's shard do")
struct RelayShardTests {
    private func acknowledgement() -> [UInt8] {
        ControlRecord(
            sequence: 0,
            acknowledged: 0,
            acknowledgedBits: 0,
            type: 0,
            goesOn: false,
            message: []
        ).encoded
    }

    private func sendAcknowledgements(_ count: Int, _ circuit: Int, _ bench: ShardBench) {
        let record = acknowledgement()
        bench.sendCell(circuit) { cell, bytes in
            for _ in 0..<count {
                bytes.copy(record, to: cell.begin(controlByteCount: record.count, in: &bytes))
            }
        }
    }

    private func controlCount(_ events: [RelayEvent]) -> Int {
        events.count { if case .control = $0 { true } else { false } }
    }

    @Test("a cell full of acknowledgements is malformed beyond a window of them")
    func controlRecordsOfCell() throws {
        let bench = try ShardBench()
        bench.open(1)
        _ = bench.takeEvents()
        sendAcknowledgements(8, 1, bench)
        #expect(controlCount(bench.takeEvents()) == 8)
        #expect(bench.counters.drops.allSatisfy { $0 == 0 })
        bench.beginBatch()
        sendAcknowledgements(130, 1, bench)
        #expect(controlCount(bench.takeEvents()) == 8)
        #expect(bench.counters.drops[RelayPath.Drop.malformed.rawValue] == 1)
    }

    @Test("a circuit has 32 control records taken from one batch, and as many from the next")
    func controlRecordsOfBatch() throws {
        let bench = try ShardBench()
        bench.open(1)
        bench.open(2)
        _ = bench.takeEvents()
        for _ in 0..<2 {
            bench.beginBatch()
            for _ in 0..<20 { sendAcknowledgements(8, 1, bench) }
            #expect(controlCount(bench.takeEvents()) == 32)
            sendAcknowledgements(8, 2, bench)
            #expect(controlCount(bench.takeEvents()) == 8)
        }
    }

    @Test("a flood of what comes again does not drown what is said once")
    func statesSurviveFlood() throws {
        let bench = try ShardBench()
        bench.open(1)
        bench.open(2)
        _ = bench.takeEvents()
        let handshake = [UInt8](repeating: 0, count: Datagram.byteCount)
        for _ in 0..<5_000 { bench.receive(handshake) }
        bench.send(.destroy, circuit: 1, body: [0])
        bench.send(.destroy, circuit: 2, body: [0])
        let events = bench.takeEvents()
        let handshakes = events.count { if case .handshake = $0 { true } else { false } }
        #expect(handshakes == 4_096)
        let destroyed = events.compactMap { event -> UInt64? in
            if case .destroyed(let id) = event { id.rawValue } else { nil }
        }
        #expect(destroyed == [1, 2])
        bench.receive(handshake)
        #expect(bench.takeEvents().count == 1)
    }

    @Test("a fragment far behind holds what it brings, on one circuit and on a thousand")
    func fragments() throws {
        let bench = try ShardBench()
        bench.open(1, hasLease: true)
        bench.sendCell(1) { cell, bytes in
            let place = cell.beginFurtherFragment(byteCount: 5, id: 1, offset: 65_000, in: &bytes)
            bytes.copy([1, 2, 3, 4, 5], to: place)
        }
        #expect((5..<2_048).contains(bench.fragmentByteCount))
        for circuit in 2...1_000 { bench.open(circuit, hasLease: true) }
        var largest = 0
        let part = [UInt8](repeating: 7, count: 1_200)
        for round in 0..<20 {
            for circuit in 1...1_000 {
                bench.sendCell(circuit) { cell, bytes in
                    let place = cell.beginFurtherFragment(
                        byteCount: part.count,
                        id: 2,
                        offset: 1_200 + round * part.count,
                        in: &bytes
                    )
                    bytes.copy(part, to: place)
                }
                largest = max(largest, bench.fragmentByteCount)
            }
            bench.advance(by: .milliseconds(10))
        }
        #expect(largest <= RelayShard.fragmentByteLimit + 2_048)
        #expect(largest > RelayShard.fragmentByteLimit / 2)
        bench.advance(by: .seconds(10))
        #expect(bench.fragmentByteCount == 0)
        // Circuits that go take theirs along.
        bench.sendCell(1) { cell, bytes in
            let place = cell.beginFurtherFragment(byteCount: 5, id: 9, offset: 9_000, in: &bytes)
            bytes.copy([1, 2, 3, 4, 5], to: place)
        }
        #expect(bench.fragmentByteCount > 0)
        bench.send(.destroy, circuit: 1, body: [0])
        #expect(bench.fragmentByteCount == 0)
    }

    @Test("a client's link has 256 circuits; a further one is answered, not ignored")
    func circuitsOfLink() throws {
        let bench = try ShardBench(peer: .client)
        for circuit in 1...RelayShard.clientCircuitLimit { bench.create(circuit) }
        #expect(bench.replies.isEmpty)
        bench.create(1_000)
        #expect(bench.replies == [busy(1_000)])
        #expect(bench.circuitCount == RelayShard.clientCircuitLimit)
        bench.send(.destroy, circuit: 7, body: [0])
        bench.create(1_001)
        #expect(bench.replies.count == 1)
        #expect(bench.circuitCount == RelayShard.clientCircuitLimit)
    }

    @Test("a full table drops the unused circuit idle longest, and says so where there is none")
    func fullTable() throws {
        let bench = try ShardBench(circuitLimit: 4)
        for circuit in 1...4 {
            bench.open(circuit)
            bench.advance(by: .seconds(4))
        }
        // In use: it never makes room, however long it was idle.
        bench.perform(
            .setNext(CircuitID(rawValue: 1), ShardBench.link, CircuitNumber(rawValue: 77))
        )
        bench.forward(1)
        bench.advance(by: .seconds(20))
        _ = bench.takeEvents()
        bench.create(5)
        #expect(bench.replies.last == busy(2))
        #expect(
            bench.takeEvents().contains {
                if case .destroyed(let id) = $0 { id == CircuitID(rawValue: 2) } else { false }
            }
        )
        bench.create(6)
        bench.create(7)
        #expect(bench.replies.suffix(2) == [busy(3), busy(4)])
        // What is left is in use or young.
        bench.create(8)
        #expect(bench.replies.last == busy(8))
        #expect(bench.circuitCount == 4)
    }

    @Test("of ticks that fill within 100 ms one is told, and the next after them")
    func ticksTold() throws {
        let bench = try ShardBench()
        bench.openThrough(1)
        let id = CircuitID(rawValue: 1)
        bench.perform(
            .allow(
                id,
                CellAllowance(
                    cellLimit: 1_000,
                    tickCells: 10,
                    reportInterval: .milliseconds(100),
                    carriesPackets: true
                )
            )
        )
        _ = bench.takeEvents()
        func told() -> [UInt64] {
            bench.takeEvents().compactMap { event in
                if case .counted(id, let counts) = event { counts.used } else { nil }
            }
        }
        for _ in 0..<50 { bench.forward(1) }
        let first = told()
        #expect(first.count == 1)
        bench.advance(by: .milliseconds(100))
        for _ in 0..<20 { bench.forward(1) }
        let second = told()
        #expect(second.count == 1)
        // What came between is in the next one.
        #expect((second.first ?? 0) - (first.first ?? 0) >= 40)
    }

    private func busy(_ circuit: Int) -> ShardBench.Reply {
        ShardBench.Reply(
            command: .destroy,
            number: ShardBench.number(circuit),
            firstByte: DestroyReason.busy.rawValue
        )
    }
}
