import Base

/// IPv4 packets with a virtio header in front, as bytes: just what these tests need.
struct Packet {
    /// The 10 bytes of the virtio header.
    var header = [UInt8](repeating: 0, count: 10)
    /// From the IP header on.
    var bytes: [UInt8]

    static let needsChecksum: UInt8 = 1
    static let tcp4: UInt8 = 1
    static let udp: UInt8 = 5

    /// Splits what a TUN read gave.
    init(read bytes: ArraySlice<UInt8>) {
        header = Array(bytes.prefix(10))
        self.bytes = Array(bytes.dropFirst(10))
    }

    /// Makes a packet of `payload` behind the transport header `transport`.
    init(
        from: UInt32,
        to: UInt32,
        transportProtocol: UInt8,
        _ transport: [UInt8],
        _ payload: [UInt8]
    ) {
        bytes = [UInt8](repeating: 0, count: 20) + transport + payload
        bytes[0] = 0x45
        bytes[8] = 64
        bytes[9] = transportProtocol
        store(UInt16(bytes.count), at: 2)
        store(UInt32(from), at: 12)
        store(UInt32(to), at: 16)
        store(~Self.sum(bytes[..<20]), at: 10)
    }

    /// An UDP packet without a checksum.
    static func udp(
        from: UInt32,
        to: UInt32,
        ports: (from: UInt16, to: UInt16),
        _ payload: [UInt8]
    ) -> Self {
        let length = UInt16(8 + payload.count)
        let transport = [ports.from, ports.to, length, 0].flatMap {
            [UInt8($0 >> 8), UInt8($0 & 255)]
        }
        return Self(from: from, to: to, transportProtocol: 17, transport, payload)
    }

    /// Marks it as super-packet of segments of `size` bytes, whose checksums the kernel makes.
    mutating func makeSuper(kind: UInt8, size: UInt16, transportHeader: Int, checksumAt: Int) {
        header[0] = Self.needsChecksum
        header[1] = kind
        let fields: [UInt16] = [UInt16(20 + transportHeader), size, 20, UInt16(checksumAt)]
        for (index, field) in fields.enumerated() {
            header[2 + 2 * index] = UInt8(field & 255)
            header[3 + 2 * index] = UInt8(field >> 8)
        }
        // The field holds the pseudo header's sum, folded, not complemented.
        let length = UInt16(bytes.count - 20)
        let pseudo = Array(bytes[12..<20]) + [0, bytes[9], UInt8(length >> 8), UInt8(length & 255)]
        store(Self.sum(pseudo[...]), at: 20 + checksumAt)
    }

    var gsoKind: UInt8 { header[1] }
    var gsoSize: Int { Int(header[4]) | Int(header[5]) << 8 }
    var isV4: Bool { bytes.first.map { $0 >> 4 == 4 } ?? false }
    var transportProtocol: UInt8 { bytes[9] }
    var source: UInt32 { load(at: 12) }
    var destination: UInt32 { load(at: 16) }

    func load<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> T {
        bytes.span.bytes.loadBigEndian(at: offset)
    }

    mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        raw.storeBigEndian(value, at: offset)
    }

    /// The Internet checksum's sum, folded to 16 bits.
    static func sum(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() {
            sum += index.isMultiple(of: 2) ? UInt32(byte) << 8 : UInt32(byte)
        }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return UInt16(sum)
    }
}
