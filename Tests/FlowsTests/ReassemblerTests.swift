import Base
import Flows
import Testing

@Suite("Packets in fragments")
struct ReassemblerTests {
    /// Output region first, then scratch for fragment bodies.
    private final class Bench {
        var arena = [UInt8](repeating: 0, count: 70_000)
        var reassembler = Reassembler()
        var now = Instant.zero + .seconds(100)
        static let output = 0..<65_535

        func receive(
            _ data: [UInt8],
            id: UInt16,
            total: Int? = nil,
            offset: Int = 0
        ) throws(FlowError) -> [UInt8]? {
            let body = 66_000..<66_000 + data.count
            arena.replaceSubrange(body, with: data)
            let record: Record =
                total.map { .firstFragment(body: body, id: id, total: $0) }
                ?? .furtherFragment(body: body, id: id, offset: offset)
            let place = try arena.withArena { (span) throws(FlowError) in
                try reassembler.receive(record, in: &span, output: Self.output, now: now)
            }
            return place.map { Array(arena[$0]) }
        }
    }

    @Test("a packet cut over cells comes out whole, cells in any order", arguments: 0..<60)
    func throughCells(seed: Int) throws {
        var seeded = Seeded(seed)
        let count = [2, 1_282, 1_500, 9_000, 65_535][seed % 5]
        let packet = seeded.bytes(count)
        var arena = packet + [UInt8](repeating: 0xcc, count: 1_284 * 60 + 65_535)
        var fragmenter = PacketFragmenter(packet: 0..<count, id: 7)
        var cells: [Range<Int>] = []
        // The first cell already holds something.
        var cell = CellFill(payload: count..<count + 1_284)
        let used = seeded.int(1...150)
        _ = arena.withArena { cell.begin(controlByteCount: used, in: &$0) }
        while !fragmenter.isFinished {
            let isWritten = arena.withArena { fragmenter.writeNext(into: &cell, in: &$0) }
            if isWritten, !fragmenter.isFinished { continue }
            #expect(isWritten || !cell.isEmpty)
            arena.withArena { cell.close(in: &$0) }
            cells.append(cell.payload)
            let next = cell.payload.upperBound
            cell = CellFill(payload: next..<next + 1_284)
        }
        #expect(cells.count <= count / 1_277 + 2)
        if seed >= 30 { cells.shuffle(using: &seeded) }
        let output = arena.count - 65_535..<arena.count
        var reassembler = Reassembler()
        var whole: [[UInt8]] = []
        for payload in cells {
            var cursor = RecordCursor(payload: payload)
            while let record = try cursor.next(in: arena.span.bytes) {
                let place = try arena.withArena {
                    try reassembler.receive(record, in: &$0, output: output, now: .zero)
                }
                if let place { whole.append(Array(arena[place])) }
            }
        }
        #expect(whole == [packet])
        let left = (reassembler.count, reassembler.byteCount)
        #expect(left == (0, 0))
    }

    @Test("any cut in any order gives the packet, once", arguments: 0..<100)
    func anyCut(seed: Int) throws {
        var seeded = Seeded(seed)
        let packet = seeded.bytes(seeded.int(2...500))
        var pieces: [Range<Int>] = []
        var start = 0
        while start < packet.count {
            let end = min(packet.count, start + seeded.int(max(1, packet.count / 40)...300))
            pieces.append(start..<(start == 0 ? min(end, packet.count - 1) : end))
            start = pieces[pieces.count - 1].upperBound
        }
        pieces.shuffle(using: &seeded)
        let bench = Bench()
        var whole: [[UInt8]] = []
        for piece in pieces {
            let total = piece.lowerBound == 0 ? packet.count : nil
            let result = try bench.receive(
                Array(packet[piece]),
                id: 3,
                total: total,
                offset: piece.lowerBound
            )
            if let result { whole.append(result) }
        }
        #expect(whole == [packet])
    }

    @Test("what overlaps, repeats or contradicts ends its packet")
    func conflicts() throws {
        func outcome(_ steps: (Bench) throws(FlowError) -> Void) -> FlowError? {
            let bench = Bench()
            do {
                try steps(bench)
                return nil
            } catch {
                #expect(bench.reassembler.count == 0)
                return error
            }
        }
        #expect(
            outcome { (bench) throws(FlowError) in
                _ = try bench.receive([1, 2], id: 1, total: 9)
                _ = try bench.receive([3, 4], id: 1, offset: 1)
            } == .conflictingFragment
        )
        #expect(
            outcome { (bench) throws(FlowError) in
                _ = try bench.receive([3, 4], id: 1, offset: 5)
                _ = try bench.receive([3, 4], id: 1, offset: 5)
            } == .conflictingFragment
        )
        #expect(
            outcome { (bench) throws(FlowError) in
                _ = try bench.receive([1, 2], id: 1, total: 9)
                _ = try bench.receive([1, 2], id: 1, total: 8)
            } == .conflictingFragment
        )
        #expect(
            outcome { (bench) throws(FlowError) in
                _ = try bench.receive([3, 4], id: 1, offset: 5)
                _ = try bench.receive([1, 2], id: 1, total: 6)
            } == .conflictingFragment
        )
        #expect(
            outcome { (bench) throws(FlowError) in
                _ = try bench.receive([1, 2], id: 1, total: 6)
                _ = try bench.receive([3, 4], id: 1, offset: 5)
            } == .conflictingFragment
        )
        #expect(
            outcome { (bench) throws(FlowError) in
                for index in 0...Reassembler.fragmentLimit {
                    _ = try bench.receive([1], id: 1, offset: 1 + index * 2)
                }
            } == .fragmentLimit
        )
    }

    @Test("a fifth packet takes the place of the first, which is not finished any more")
    func bounded() throws {
        let bench = Bench()
        for id in 0..<5 as Range<UInt16> {
            #expect(try bench.receive([1, 2], id: id, total: 3) == nil)
        }
        #expect(bench.reassembler.count == Reassembler.packetLimit)
        #expect(bench.reassembler.droppedCount == 1)
        #expect(try bench.receive([3], id: 0, offset: 2) == nil)
        #expect(try bench.receive([3], id: 4, offset: 2) == [1, 2, 3])
    }

    @Test("packets in progress never hold more bytes than the limit")
    func memory() throws {
        let bench = Bench()
        var largest = 0
        for number in 0..<200 {
            _ = try bench.receive(
                [UInt8](repeating: 1, count: 1_000),
                id: UInt16(number / 50),
                offset: 1 + number % 50 * 1_000
            )
            largest = max(largest, bench.reassembler.byteCount)
        }
        #expect(largest <= Reassembler.byteLimit)
        #expect(largest > Reassembler.byteLimit * 9 / 10)
    }

    @Test("a fragment far behind costs what it brings")
    func farBehind() throws {
        let bench = Bench()
        #expect(try bench.receive([1, 2, 3, 4, 5], id: 1, offset: 65_000) == nil)
        #expect(bench.reassembler.byteCount < 2_048)
        #expect(try bench.receive([UInt8](repeating: 7, count: 1_000), id: 1, total: 65_005) == nil)
        #expect(bench.reassembler.byteCount < 2_048)
    }

    @Test("a packet that does not come whole within 5 s is given up")
    func lifetime() throws {
        let bench = Bench()
        #expect(try bench.receive([1], id: 1, total: 3) == nil)
        bench.now = bench.now + .seconds(3)
        #expect(try bench.receive([1], id: 2, total: 2) == nil)
        bench.now = bench.now + .seconds(2)
        #expect(try bench.receive([2, 3], id: 1, offset: 1) == nil)
        #expect(try bench.receive([2], id: 2, offset: 1) == [1, 2])
        #expect(bench.reassembler.droppedCount == 1)
    }

    @Test("records that are no fragments are left alone")
    func others() throws {
        var arena: [UInt8] = [1, 2, 3]
        var reassembler = Reassembler()
        let place = try arena.withArena {
            try reassembler.receive(.packet(body: 0..<3), in: &$0, output: 0..<3, now: .zero)
        }
        let count = reassembler.count
        #expect(place == nil)
        #expect(count == 0)
    }
}
