import Base

/// A plain IP packet as hosts make and read it.
///
/// Written without the packet code of the product, so that both check each other.
struct Packet {
    enum Transport: UInt8 {
        case icmp = 1
        case tcp = 6
        case udp = 17
        case icmpV6 = 58
    }

    var source: IPAddress
    var destination: IPAddress
    var transport: Transport
    /// The ECN field: 0 not understood, 1 and 2 understood, 3 congestion experienced.
    var ecn: UInt8 = 0
    /// Ports of TCP and UDP; type and identifier of ICMP.
    var sourcePort: UInt16 = 0
    var destinationPort: UInt16 = 0
    // Of ICMP echo, `sequence` holds the sequence number.
    var sequence: UInt32 = 0
    var acknowledged: UInt32 = 0
    var isPushed = false
    /// TCP options, a multiple of four bytes.
    var options: [UInt8] = []
    var payload: [UInt8] = []

    init(_ transport: Transport, from source: IPAddress, to destination: IPAddress) {
        self.source = source
        self.destination = destination
        self.transport = transport
    }

    var isV6: Bool { !source.isV4 }

    /// Bytes of IP and transport header.
    var headerByteCount: Int {
        let transportCount =
            switch transport {
            case .tcp: 20 + options.count
            case .udp, .icmp, .icmpV6: 8
            }
        return (isV6 ? 40 : 20) + transportCount
    }

    // MARK: Writing

    var encoded: [UInt8] {
        let transportStart = isV6 ? 40 : 20
        let total = headerByteCount + payload.count
        var bytes: [UInt8] = []
        bytes.reserveCapacity(total)
        if isV6 {
            bytes += [0x60, ecn << 4, 0, 0]
            bytes += Self.words(UInt16(total - 40))
            bytes += [transport.rawValue, 64]
            bytes += source.bytes + destination.bytes
        } else {
            bytes += [0x45, ecn] + Self.words(UInt16(total)) + [0, 0, 0x40, 0]
            bytes += [64, transport.rawValue, 0, 0]
            bytes += source.bytes[12...] + destination.bytes[12...]
            let sum = ~Self.fold(Self.sum(bytes[0..<20]))
            (bytes[10], bytes[11]) = (UInt8(sum >> 8), UInt8(sum & 255))
        }
        let sumOffset: Int
        switch transport {
        case .udp:
            bytes += Self.words(sourcePort) + Self.words(destinationPort)
            bytes += Self.words(UInt16(8 + payload.count)) + [0, 0]
            sumOffset = 6
        case .tcp:
            bytes += Self.words(sourcePort) + Self.words(destinationPort)
            bytes += Self.words(UInt16(truncatingIfNeeded: sequence >> 16))
            bytes += Self.words(UInt16(truncatingIfNeeded: sequence))
            bytes += Self.words(UInt16(truncatingIfNeeded: acknowledged >> 16))
            bytes += Self.words(UInt16(truncatingIfNeeded: acknowledged))
            bytes += [UInt8((20 + options.count) / 4) << 4, isPushed ? 0x18 : 0x10, 0xff, 0xff]
            bytes += [0, 0, 0, 0] + options
            sumOffset = 16
        case .icmp, .icmpV6:
            bytes += [UInt8(truncatingIfNeeded: sourcePort), 0, 0, 0]
            bytes += Self.words(destinationPort) + Self.words(UInt16(truncatingIfNeeded: sequence))
            sumOffset = 2
        }
        bytes += payload
        var sum = ~Self.fold(Self.transportSum(bytes, isV6: isV6, transport: transport))
        if transport == .udp, sum == 0 { sum = 0xffff }
        bytes[transportStart + sumOffset] = UInt8(sum >> 8)
        bytes[transportStart + sumOffset + 1] = UInt8(sum & 255)
        return bytes
    }

    // MARK: Reading

    enum Fault: Error {
        case truncated
        case length
        case headerSum
        case transportSum
        case unknown(UInt8)
    }

    /// Reads a packet and checks its lengths and sums.
    init(parsing bytes: [UInt8]) throws(Fault) {
        guard bytes.count >= 28 else { throw .truncated }
        let isV6 = bytes[0] >> 4 == 6
        let start = isV6 ? 40 : 20
        guard isV6 || bytes[0] == 0x45, bytes.count >= start + 8 else { throw .truncated }
        let length = Self.word(bytes, isV6 ? 4 : 2)
        guard Int(length) + (isV6 ? 40 : 0) == bytes.count else { throw .length }
        guard isV6 || Self.fold(Self.sum(bytes[0..<20])) == 0xffff else { throw .headerSum }
        let number = bytes[isV6 ? 6 : 9]
        guard let transport = Transport(rawValue: number) else { throw .unknown(number) }
        let sum = Self.transportSum(bytes, isV6: isV6, transport: transport)
        guard Self.fold(sum) == 0xffff else { throw .transportSum }
        func address(_ offset: Int) -> IPAddress {
            guard isV6 else {
                let word = bytes[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                return IPAddress(v4: word)
            }
            let high = bytes[offset..<offset + 8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let low = bytes[offset + 8..<offset + 16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return IPAddress(high: high, low: low)
        }
        self.init(transport, from: address(isV6 ? 8 : 12), to: address(isV6 ? 24 : 16))
        ecn = isV6 ? bytes[1] >> 4 & 3 : bytes[1] & 3
        switch transport {
        case .udp:
            sourcePort = Self.word(bytes, start)
            destinationPort = Self.word(bytes, start + 2)
            guard Int(Self.word(bytes, start + 4)) == bytes.count - start else { throw .length }
            payload = Array(bytes[(start + 8)...])
        case .tcp:
            guard bytes.count >= start + 20 else { throw .truncated }
            sourcePort = Self.word(bytes, start)
            destinationPort = Self.word(bytes, start + 2)
            sequence =
                UInt32(Self.word(bytes, start + 4)) << 16 | UInt32(Self.word(bytes, start + 6))
            acknowledged =
                UInt32(Self.word(bytes, start + 8)) << 16 | UInt32(Self.word(bytes, start + 10))
            let headerEnd = start + Int(bytes[start + 12] >> 4) * 4
            guard headerEnd >= start + 20, headerEnd <= bytes.count else { throw .truncated }
            isPushed = bytes[start + 13] & 8 != 0
            options = Array(bytes[start + 20..<headerEnd])
            payload = Array(bytes[headerEnd...])
        case .icmp, .icmpV6:
            sourcePort = UInt16(bytes[start])
            destinationPort = Self.word(bytes, start + 4)
            sequence = UInt32(Self.word(bytes, start + 6))
            payload = Array(bytes[(start + 8)...])
        }
    }

    /// Where a packet is from and to, read alone; `nil` where it is too short for its header.
    static func ends(
        of packet: ArraySlice<UInt8>
    ) -> (source: IPAddress, destination: IPAddress)? {
        let bytes = Array(packet.prefix(40))
        guard let first = bytes.first, bytes.count >= (first >> 4 == 6 ? 40 : 20) else {
            return nil
        }
        func number(_ range: Range<Int>) -> UInt64 {
            bytes[range].reduce(0) { $0 << 8 | UInt64($1) }
        }
        guard first >> 4 == 6 else {
            return (
                IPAddress(v4: UInt32(truncatingIfNeeded: number(12..<16))),
                IPAddress(v4: UInt32(truncatingIfNeeded: number(16..<20)))
            )
        }
        return (
            IPAddress(high: number(8..<16), low: number(16..<24)),
            IPAddress(high: number(24..<32), low: number(32..<40))
        )
    }

    // MARK: Sums

    static func words(_ value: UInt16) -> [UInt8] {
        [UInt8(value >> 8), UInt8(value & 255)]
    }

    static func word(_ bytes: [UInt8], _ offset: Int) -> UInt16 {
        UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }

    /// The sum of 16-bit words, not folded; a slice begins at an even place of what is summed.
    static func sum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        unsafe bytes.withUnsafeBytes { buffer in
            var sum: UInt64 = 0
            var offset = 0
            while offset + 4 <= buffer.count {
                let word = unsafe buffer.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                sum &+= UInt64(UInt32(bigEndian: word))
                offset += 4
            }
            while offset < buffer.count {
                let byte = unsafe UInt64(buffer[offset])
                sum &+= offset & 1 == 0 ? byte << 8 : byte
                offset += 1
            }
            return sum
        }
    }

    static func fold(_ sum: UInt64) -> UInt16 {
        var sum = sum
        while sum > 0xffff { sum = (sum >> 16) + (sum & 0xffff) }
        return UInt16(sum)
    }

    /// The sum of transport header and payload, with the pseudo-header where there is one.
    static func transportSum(_ bytes: [UInt8], isV6: Bool, transport: Transport) -> UInt64 {
        let start = isV6 ? 40 : 20
        var total = sum(bytes[start...])
        guard transport != .icmp else { return total }
        total += sum(bytes[(isV6 ? 8 : 12)..<start])
        return total + UInt64(transport.rawValue) + UInt64(bytes.count - start)
    }
}
