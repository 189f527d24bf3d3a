import Base
import Flows
import Testing
import Wire

@Suite("Records in a cell's payload")
struct RecordTests {
    private func records(_ bytes: [UInt8], _ payload: Range<Int>) throws -> [Record] {
        var cursor = RecordCursor(payload: payload)
        var result: [Record] = []
        while let record = try cursor.next(in: bytes.span.bytes) { result.append(record) }
        return result
    }

    @Test("a payload reads as protocol §C.4 draws it")
    func golden() throws {
        let bytes: [UInt8] =
            [9, 9] + [1, 0, 2, 0xaa, 0xbb] + [2, 0, 6, 0x12, 0x34, 0x05, 0x00, 7, 8]
            + [3, 0, 5, 0x12, 0x34, 0x04, 0xff, 9] + [16, 0, 1, 5] + [0, 1, 2, 3]
        #expect(
            try records(bytes, 2..<bytes.count) == [
                .packet(body: 5..<7),
                .firstFragment(body: 14..<16, id: 0x1234, total: 0x500),
                .furtherFragment(body: 23..<24, id: 0x1234, offset: 0x4ff),
                .control(body: 27..<28),
            ]
        )
    }

    @Test("the largest packet fills a payload of 1,284 to one byte of padding")
    func largest() throws {
        var arena = [UInt8](repeating: 0xff, count: 1_300)
        var cell = CellFill(payload: 8..<1_292)
        #expect(cell.packetCapacity == 1_281)
        #expect(cell.fits(packetByteCount: 1_281))
        #expect(!cell.fits(packetByteCount: 1_282))
        let place = arena.withArena { cell.begin(packetByteCount: 1_280, in: &$0) }
        #expect(place == 11)
        #expect(cell.remainingByteCount == 1)
        #expect(!cell.fits(packetByteCount: 0))
        arena.withArena { cell.close(in: &$0) }
        #expect(Array(arena[8..<11]) == [1, 0x05, 0x00])
        #expect(arena[1_291] == 0)
        #expect(arena[1_292] == 0xff)
        #expect(try records(arena, 8..<1_292) == [.packet(body: 11..<1_291)])
    }

    @Test("what is packed is what is read, and no stale byte stays", arguments: 0..<100)
    func roundTrip(seed: Int) throws {
        var seeded = Seeded(seed)
        var arena = [UInt8](repeating: 0xee, count: 1_400)
        let payload = 50..<50 + seeded.int(100...1_284)
        var cell = CellFill(payload: payload)
        #expect(cell.isEmpty)
        var sent: [[UInt8]] = []
        while true {
            let packet = seeded.bytes(seeded.int(1...400))
            guard cell.fits(packetByteCount: packet.count) else { break }
            let isControl = seeded.chance(4)
            let place = arena.withArena { span in
                isControl
                    ? cell.begin(controlByteCount: packet.count, in: &span)
                    : cell.begin(packetByteCount: packet.count, in: &span)
            }
            arena.replaceSubrange(place..<place + packet.count, with: packet)
            sent.append([isControl ? 16 : 1] + packet)
        }
        let end = cell.end
        arena.withArena { cell.close(in: &$0) }
        #expect(cell.remainingByteCount == 0)
        #expect(arena[end..<payload.upperBound].allSatisfy { $0 == 0 })
        #expect(arena[payload.upperBound...].allSatisfy { $0 == 0xee })
        #expect(arena[..<50].allSatisfy { $0 == 0xee })
        let read = try records(arena, payload).map { record -> [UInt8] in
            switch record {
            case .packet(let body): [1] + arena[body]
            case .control(let body): [16] + arena[body]
            default: []
            }
        }
        #expect(read == sent)
    }

    @Test(
        "a malformed record throws, and nothing is read behind it",
        arguments: [
            [1], [1, 0], [1, 0, 0], [1, 0, 5, 1, 2], [1, 0xff, 0xff], [4, 0, 0], [255, 0, 1, 1],
            [2, 0, 4, 0, 1, 0, 9], [2, 0, 5, 0, 1, 0, 1, 7], [2, 0, 5, 0, 1, 0, 0, 7],
            [3, 0, 5, 0, 1, 0, 0, 7], [3, 0, 5, 0, 1, 0xff, 0xff, 7], [3, 0, 4, 0, 1, 0, 9],
            // A probe is at least 13 bytes, and nothing is behind it.
            [17, 0, 12] + [UInt8](repeating: 0, count: 12),
            [17, 0, 13] + [UInt8](repeating: 0, count: 14),
        ] as [[UInt8]]
    )
    func malformed(bytes: [UInt8]) throws {
        var cursor = RecordCursor(payload: 0..<bytes.count)
        #expect(throws: WireError.self) { try cursor.next(in: bytes.span.bytes) }
        #expect(try cursor.next(in: bytes.span.bytes) == nil)
    }

    @Test("no payload makes the cursor trap or leave it", arguments: 0..<300)
    func hostile(seed: Int) {
        var seeded = Seeded(seed)
        var bytes = seeded.bytes(seeded.int(0...60))
        for index in bytes.indices where seeded.chance(3) {
            bytes[index] = UInt8(seeded.int(0...3))
        }
        for record in (try? records(bytes, 0..<bytes.count)) ?? [] {
            let body =
                switch record {
                case .packet(let body), .control(let body), .firstFragment(let body, _, _),
                    .furtherFragment(let body, _, _), .probe(let body):
                    body
                }
            #expect(body.upperBound <= bytes.count)
        }
    }
}
