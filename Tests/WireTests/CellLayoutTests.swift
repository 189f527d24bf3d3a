import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

/// `bytes` as a span for `work`.
private func withSpan<R>(_ bytes: inout [UInt8], _ work: (inout MutableRawSpan) -> R) -> R {
    var elements = bytes.mutableSpan
    var span = elements.mutableBytes
    return work(&span)
}

@Suite("Layouts of datagrams and layers")
struct CellLayoutTests {
    @Test("the datagram's places are those of the protocol and fill its 1,392 bytes")
    func places() {
        #expect(Datagram.byteCount == 1392)
        #expect(Datagram.headerOffset == Datagram.clearByteCount)
        #expect(Datagram.headerTagOffset == Datagram.headerOffset + Datagram.headerByteCount)
        #expect(Datagram.bodyOffset == Datagram.headerTagOffset + 16)
        #expect(Datagram.bodyOffset + Datagram.bodyByteCount == Datagram.byteCount)
        #expect(Datagram.sealedBodyCapacity == 1340)
        #expect(HopIndex.all.map(OnionLayer.byteCount) == [1356, 1332, 1308])
        #expect(HopIndex.all.map(OnionLayer.innerByteCount) == [1332, 1308, 1284])
    }

    @Test("a link header is read back as written, at the very end of a span too")
    func linkHeader() throws {
        for command in CellCommand.allCases {
            let header = LinkHeader(
                circuit: CircuitNumber(rawValue: 0x8102_0304),
                counter: 0x4506_0708,
                command: command,
                flags: 9
            )
            for start in [0, 1, 7] {
                var bytes = [UInt8](repeating: 0xee, count: start + 20)
                withSpan(&bytes) { header.store(to: &$0, datagram: start) }
                #expect(try LinkHeader(parsing: bytes.span.bytes, datagram: start) == header)
                #expect(bytes[..<(start + 8)].allSatisfy { $0 == 0xee })
                #expect(
                    Array(bytes[(start + 8)...])
                        == [0x81, 2, 3, 4, 0x45, 6, 7, 8, command.rawValue, 9, 0, 0]
                )
            }
        }
        #expect(CircuitNumber(rawValue: 0x8000_0000).isFromInitiator)
        #expect(!CircuitNumber(rawValue: 0x7fff_ffff).isFromInitiator)
    }

    @Test("row 14: every unknown cell command throws, every known one does not")
    func cellCommands() {
        for code in 0...255 as ClosedRange<UInt8> {
            var bytes = [UInt8](repeating: 0, count: 20)
            bytes[16] = code
            let header = try? LinkHeader(parsing: bytes.span.bytes, datagram: 0)
            #expect((header != nil) == (code <= 6))
        }
        let sealed = CellCommand.allCases.filter(\.sealsBody)
        #expect(sealed == [.create, .created, .destroy, .linkControl])
    }

    @Test("a layer header is read back as written, at the very end of a span too")
    func layerHeader() throws {
        for command in [LayerCommand.forward, .deliver, .drop, .parity] {
            let header = LayerHeader(
                command: command,
                flags: [.unpaid, .slotHold],
                auxiliary: 0x0102,
                nextCounter: 0x0304_0506
            )
            for start in [0, 3] {
                var bytes = [UInt8](repeating: 0xee, count: start + 8)
                withSpan(&bytes) { header.store(to: &$0, at: start) }
                #expect(try LayerHeader(parsing: bytes.span.bytes, at: start) == header)
                #expect(Array(bytes[start...]) == [command.rawValue, 6, 1, 2, 3, 4, 5, 6])
            }
        }
        for code in 4...255 as ClosedRange<UInt8> {
            let bytes = [code] + [UInt8](repeating: 0, count: 7)
            #expect(throws: WireError.unknown(field: "layer cmd", value: UInt64(code))) {
                try LayerHeader(parsing: bytes.span.bytes, at: 0)
            }
        }
    }

    @Test("a counter keeps two bits of epoch and thirty of count apart")
    func layerCounter() {
        for epoch in 0...3 as ClosedRange<UInt8> {
            for count in [0, 1, 1 << 29, 0x3fff_ffff] as [UInt32] {
                let counter = LayerCounter(epoch: epoch, count: count)
                #expect(counter.epoch == epoch)
                #expect(counter.count == count)
                #expect(LayerCounter(rawValue: counter.rawValue) == counter)
            }
        }
        // Too much of either spills into neither.
        #expect(LayerCounter(epoch: 7, count: 0).epoch == 3)
        #expect(LayerCounter(epoch: 1, count: 0xffff_ffff).epoch == 1)
    }

    @Test("a view beyond the end of its span stops the program, it reads nothing")
    func beyondTheEnd() async {
        await #expect(processExitsWith: .failure) {
            let bytes = [UInt8](repeating: 0, count: 7)
            _ = try LayerHeader(parsing: bytes.span.bytes, at: 0)
        }
        await #expect(processExitsWith: .failure) {
            let bytes = [UInt8](repeating: 0, count: 17)
            _ = try LinkHeader(parsing: bytes.span.bytes, datagram: 0)
        }
        await #expect(processExitsWith: .failure) {
            let bytes = [UInt8](repeating: 0, count: 40)
            _ = try LinkHeader(parsing: bytes.span.bytes, datagram: -9)
        }
    }

    @Test("hops are three, each with a next one but the last")
    func hops() {
        #expect(HopIndex.all.map(\.rawValue) == [1, 2, 3])
        #expect(HopIndex(rawValue: 0) == nil)
        #expect(HopIndex(rawValue: 4) == nil)
        #expect(HopIndex.first.next == .second)
        #expect(HopIndex.second.next == .third)
        #expect(HopIndex.third.next == nil)
        #expect(HopIndex.all.map(\.offset) == [0, 1, 2])
    }
}

/// A reader called from within expectations.
private final class Reader {
    private var reader: ByteReader

    init(_ bytes: [UInt8]) {
        reader = ByteReader(bytes)
    }

    var offset: Int { reader.offset }
    var remainingByteCount: Int { reader.remainingByteCount }

    func read<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(WireError) -> T {
        try reader.read(type)
    }

    func read(byteCount: Int) throws(WireError) -> [UInt8] {
        try reader.read(byteCount: byteCount)
    }

    func readBytes32() throws(WireError) -> Bytes32 {
        try reader.readBytes32()
    }

    func readRemaining() -> [UInt8] {
        reader.readRemaining()
    }

    func finish() throws(WireError) {
        try reader.finish()
    }
}

@Suite("Reading and writing bytes")
struct ByteReaderTests {
    @Test("integers of each width are big-endian both ways")
    func integers() throws {
        var writer = ByteWriter()
        writer.write(UInt8(1))
        writer.write(UInt16(0x0203))
        writer.write(UInt32(0x0405_0607))
        writer.write(UInt64(0x0809_0a0b_0c0d_0e0f))
        #expect(writer.bytes == Array(1...15))
        let reader = Reader(writer.bytes)
        #expect(try reader.read(UInt8.self) == 1)
        #expect(try reader.read(UInt16.self) == 0x0203)
        #expect(try reader.read(UInt32.self) == 0x0405_0607)
        #expect(try reader.read(UInt64.self) == 0x0809_0a0b_0c0d_0e0f)
        #expect(throws: Never.self) { try reader.finish() }
    }

    @Test("row 16: a read beyond the end throws and moves nothing, whatever is asked for")
    func beyondTheEnd() {
        for count in [4, 5, 100, Int.max, -1, Int.min] {
            let reader = Reader([1, 2, 3])
            #expect(throws: WireError.self) { try reader.read(byteCount: count) }
            #expect(reader.offset == 0)
            #expect(reader.remainingByteCount == 3)
        }
        let reader = Reader([1, 2, 3])
        #expect(throws: WireError.truncated(neededByteCount: 4, foundByteCount: 3)) {
            try reader.read(UInt32.self)
        }
        #expect(throws: WireError.truncated(neededByteCount: 32, foundByteCount: 3)) {
            try reader.readBytes32()
        }
        #expect(throws: WireError.trailing(byteCount: 3)) { try reader.finish() }
        #expect(reader.readRemaining() == [1, 2, 3])
        #expect(reader.readRemaining().isEmpty)
    }
}
