/// The frames of a capture file: of the classic format, or of pcapng, which Wireshark writes.
///
/// Sources: `pcap-savefile(5)` of the tcpdump project; draft-ietf-opsawg-pcapng, sections 4.1 to 4.4.
struct CaptureFrames {
    /// What was seen on one link at one moment.
    struct Frame {
        /// The kind of link, by the numbers of tcpdump.org.
        var link: UInt32
        /// Microseconds since 1970; 0 where the file does not say.
        var time: UInt64
        var bytes: [UInt8]
    }

    private(set) var frames: [Frame] = []

    /// Reads the file's bytes; `nil` for what is neither format.
    ///
    /// A file that was cut off gives the frames that are whole.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 12 else { return nil }
        switch Array(bytes[0..<4]) {
        case [0xd4, 0xc3, 0xb2, 0xa1]: readClassic(Bytes(bytes, isLittle: true), perMicro: 1)
        case [0xa1, 0xb2, 0xc3, 0xd4]: readClassic(Bytes(bytes, isLittle: false), perMicro: 1)
        case [0x4d, 0x3c, 0xb2, 0xa1]: readClassic(Bytes(bytes, isLittle: true), perMicro: 1_000)
        case [0xa1, 0xb2, 0x3c, 0x4d]: readClassic(Bytes(bytes, isLittle: false), perMicro: 1_000)
        case [0x0a, 0x0d, 0x0d, 0x0a]: readBlocks(Bytes(bytes, isLittle: true))
        default: return nil
        }
    }

    /// A file's numbers, in the order of bytes it is written in.
    private struct Bytes {
        let bytes: [UInt8]
        var isLittle: Bool

        init(_ bytes: [UInt8], isLittle: Bool) {
            self.bytes = bytes
            self.isLittle = isLittle
        }

        func number(_ offset: Int, _ count: Int) -> UInt32 {
            let part = bytes[offset..<offset + count]
            return isLittle
                ? part.reversed().reduce(0) { $0 << 8 | UInt32($1) }
                : part.reduce(0) { $0 << 8 | UInt32($1) }
        }

        func word(_ offset: Int) -> UInt32 { number(offset, 4) }
        func half(_ offset: Int) -> Int { Int(number(offset, 2)) }
    }

    // MARK: The classic format

    private mutating func readClassic(_ file: Bytes, perMicro: UInt32) {
        guard file.bytes.count >= 24 else { return }
        let link = file.word(20)
        var offset = 24
        while offset + 16 <= file.bytes.count {
            let count = Int(file.word(offset + 8))
            let micros = UInt64(file.word(offset + 4) / perMicro)
            let time = UInt64(file.word(offset)) * 1_000_000 + micros
            offset += 16
            guard count <= file.bytes.count - offset else { break }
            let bytes = Array(file.bytes[offset..<offset + count])
            frames.append(Frame(link: link, time: time, bytes: bytes))
            offset += count
        }
    }

    // MARK: Blocks of pcapng

    /// What frames of an interface have in common.
    private struct Interface {
        var link: UInt32
        /// How its clock counts: a power of ten, or of two where bit 7 is set.
        var resolution: UInt8 = 6

        func micros(_ time: UInt64) -> UInt64 {
            let power = resolution & 0x7f
            if resolution & 0x80 != 0 {
                guard power < 64 else { return 0 }
                let fraction = Double(time & ((1 << power) - 1)) / Double(UInt64(1) << power)
                let (whole, isOver) = (time >> power).multipliedReportingOverflow(by: 1_000_000)
                return isOver ? 0 : whole &+ UInt64(fraction * 1_000_000)
            }
            guard power <= 19 else { return 0 }
            let scale = (0..<max(power, 6) - min(power, 6)).reduce(UInt64(1)) { product, _ in
                product * 10
            }
            return power >= 6 ? time / scale : time.multipliedReportingOverflow(by: scale).0
        }
    }

    private mutating func readBlocks(_ bytes: Bytes) {
        var file = bytes
        var interfaces: [Interface] = []
        var offset = 0
        while offset + 12 <= file.bytes.count {
            let type = file.word(offset)
            if type == 0x0a0d_0d0a {
                file.isLittle = file.bytes[offset + 8] == 0x4d
                interfaces = []
            }
            let length = Int(file.word(offset + 4))
            guard length >= 12, length <= file.bytes.count - offset else { break }
            // Between the two lengths of a block.
            let body = offset + 8..<offset + length - 4
            switch type {
            case 1 where body.count >= 8: interfaces.append(interface(file, body))
            case 3 where body.count >= 4: readSimple(file, body, interfaces.first)
            case 6 where body.count >= 20: readEnhanced(file, body, interfaces)
            default: break
            }
            offset += length
        }
    }

    private func interface(_ file: Bytes, _ body: Range<Int>) -> Interface {
        var interface = Interface(link: UInt32(file.half(body.lowerBound)))
        var option = body.lowerBound + 8
        while option + 4 <= body.upperBound, file.half(option) != 0 {
            let length = file.half(option + 2)
            if file.half(option) == 9, length == 1, option + 4 < body.upperBound {
                interface.resolution = file.bytes[option + 4]
            }
            option += 4 + (length + 3) / 4 * 4
        }
        return interface
    }

    private mutating func readSimple(_ file: Bytes, _ body: Range<Int>, _ interface: Interface?) {
        guard let interface else { return }
        let start = body.lowerBound + 4
        let count = min(Int(file.word(body.lowerBound)), body.upperBound - start)
        let bytes = Array(file.bytes[start..<start + count])
        frames.append(Frame(link: interface.link, time: 0, bytes: bytes))
    }

    private mutating func readEnhanced(
        _ file: Bytes,
        _ body: Range<Int>,
        _ interfaces: [Interface]
    ) {
        let index = Int(file.word(body.lowerBound))
        let count = Int(file.word(body.lowerBound + 12))
        let start = body.lowerBound + 20
        guard interfaces.indices.contains(index), count <= body.upperBound - start else { return }
        let high = UInt64(file.word(body.lowerBound + 4))
        let time = interfaces[index].micros(high << 32 | UInt64(file.word(body.lowerBound + 8)))
        let bytes = Array(file.bytes[start..<start + count])
        frames.append(Frame(link: interfaces[index].link, time: time, bytes: bytes))
    }
}
