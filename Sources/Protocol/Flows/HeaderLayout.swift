import Base
import Wire

// Offsets of the header fields that are rewritten in place, from the start of their header on.

enum IPLayout {
    static let v4ByteCount = 20
    static let v4TrafficClass = 1
    static let v4TotalLength = 2
    static let v4Identification = 4
    static let v4Fragment = 6
    static let v4Protocol = 9
    static let v4Checksum = 10
    static let v4Source = 12
    static let v4Destination = 16

    static let v6ByteCount = 40
    static let v6PayloadLength = 4
    static let v6NextHeader = 6
    static let v6Source = 8
    static let v6Destination = 24
}

enum TransportLayout {
    static let tcpByteCount = 20
    static let tcpSequence = 4
    static let tcpDataOffset = 12
    static let tcpFlags = 13
    static let tcpChecksum = 16

    static let udpByteCount = 8
    static let udpLength = 4
    static let udpChecksum = 6

    static let icmpByteCount = 8
    static let icmpChecksum = 2
}

enum TCPFlags {
    static let fin: UInt8 = 0x01
    static let psh: UInt8 = 0x08
    static let ack: UInt8 = 0x10
    static let cwr: UInt8 = 0x80
}

extension MutableRawSpan {
    /// Computes the checksum of the IPv4 header at `offset` and stores it there.
    @inline(__always)
    mutating func storeIPv4Checksum(headerByteCount: Int, at offset: Int) {
        storeBigEndian(UInt16(0), at: offset &+ IPLayout.v4Checksum)
        var sum = InternetChecksum()
        sum.add(loadBigEndian(at: offset, as: UInt64.self))
        sum.add(loadBigEndian(at: offset &+ 8, as: UInt64.self))
        sum.add(loadBigEndian(at: offset &+ 16, as: UInt32.self))
        if headerByteCount > IPLayout.v4ByteCount {
            sum.add(bytes, offset &+ IPLayout.v4ByteCount..<offset &+ headerByteCount)
        }
        storeBigEndian(sum.complement, at: offset &+ IPLayout.v4Checksum)
    }
}
