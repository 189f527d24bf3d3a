import Base
import Flows
import Wire

/// The IPv4 packets of an audit: a question for a name's address, an echo, and their answers.
///
/// Written and read as whole byte strings: an audit is rare, and nothing of it is in the packet path.
enum AuditPacket {
    /// What a packet that came says.
    enum Content: Equatable {
        /// The resolver's answer to the question with this number.
        case name(id: UInt16, NameAnswer)
        /// The payload of an echo that came back.
        case echo(id: UInt16, [UInt8])
    }

    /// What a resolver said of a name.
    struct NameAnswer: Equatable {
        /// The code of the answer: 0 where there is one.
        var code: UInt8
        /// The IPv4 addresses, ascending.
        var addresses: [UInt32]
    }

    private static let udp: UInt8 = 17
    private static let icmp: UInt8 = 1
    private static let namePort: UInt16 = 53
    private static let client = AddressPair.Tunnel.client.v4
    private static let resolver = AddressPair.Tunnel.resolver.v4

    // MARK: Questions

    /// A question for the IPv4 address of `name`, to the resolver of the tunnel.
    static func question(_ name: String, id: UInt16, port: UInt16) -> [UInt8] {
        var message = ByteWriter(capacity: 64)
        message.write(id)
        // Recursion desired; one question.
        for word in [0x0100, 1, 0, 0, 0] as [UInt16] { message.write(word) }
        for label in name.split(separator: ".") where label.utf8.count < 64 {
            message.write(UInt8(label.utf8.count))
            message.write(Array(label.utf8))
        }
        message.write(UInt8(0))
        for word in [1, 1] as [UInt16] { message.write(word) }
        let payload = message.bytes
        var datagram = ByteWriter(capacity: payload.count + 8)
        datagram.write(port)
        datagram.write(namePort)
        datagram.write(UInt16(clamping: payload.count + 8))
        let pseudo = pseudoHeader(from: client, to: resolver, count: payload.count + 8)
        datagram.write(checksum(pseudo + datagram.bytes + [0, 0] + payload))
        datagram.write(payload)
        return packet(udp, to: resolver, datagram.bytes)
    }

    /// An echo request with this payload.
    static func echo(to address: UInt32, id: UInt16, payload: [UInt8]) -> [UInt8] {
        var message = ByteWriter(capacity: payload.count + 8)
        message.write(UInt16(0x0800))
        let rest = words([id, 1]) + payload
        message.write(checksum([8, 0, 0, 0] + rest))
        message.write(rest)
        return packet(icmp, to: IPAddress(v4: address), message.bytes)
    }

    private static func packet(
        _ protocolNumber: UInt8,
        to destination: IPAddress,
        _ body: [UInt8]
    ) -> [UInt8] {
        var header = ByteWriter(capacity: 20)
        header.write(UInt16(0x4500))
        header.write(UInt16(clamping: 20 + body.count))
        header.write(UInt32(0x0000_4000))
        header.write(UInt8(64))
        header.write(protocolNumber)
        let addresses = addressBytes(client) + addressBytes(destination)
        header.write(checksum(header.bytes + [0, 0] + addresses))
        return header.bytes + addresses + body
    }

    private static func addressBytes(_ address: IPAddress) -> [UInt8] {
        words([
            UInt16(truncatingIfNeeded: (address.v4 ?? 0) >> 16),
            UInt16(truncatingIfNeeded: address.v4 ?? 0),
        ])
    }

    private static func pseudoHeader(from: IPAddress, to: IPAddress, count: Int) -> [UInt8] {
        addressBytes(from) + addressBytes(to) + [0, udp] + words([UInt16(clamping: count)])
    }

    /// These words, big-endian.
    static func words(_ words: [UInt16]) -> [UInt8] {
        words.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
    }

    /// The internet checksum of bytes in which its own place is zero.
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() {
            sum += index.isMultiple(of: 2) ? UInt32(byte) << 8 : UInt32(byte)
        }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }

    // MARK: Answers

    /// What `bytes` say; `nil` for a packet that is no answer to an audit.
    static func content(_ bytes: [UInt8]) -> Content? {
        do throws(WireError) {
            var reader = ByteReader(bytes)
            let version = try reader.read(UInt8.self)
            let headerCount = Int(version & 15) * 4
            guard version >> 4 == 4, headerCount >= 20 else { return nil }
            _ = try reader.read(byteCount: 8)
            let protocolNumber = try reader.read(UInt8.self)
            _ = try reader.read(byteCount: headerCount - 10)
            switch protocolNumber {
            case icmp:
                guard try reader.read(UInt8.self) == 0 else { return nil }
                _ = try reader.read(byteCount: 3)
                let id = try reader.read(UInt16.self)
                _ = try reader.read(UInt16.self)
                return .echo(id: id, reader.readRemaining())
            case udp:
                guard try reader.read(UInt16.self) == namePort else { return nil }
                _ = try reader.read(byteCount: 6)
                return try name(reader.readRemaining())
            default: return nil
            }
        } catch {
            return nil
        }
    }

    private static func name(_ bytes: [UInt8]) throws(WireError) -> Content? {
        var reader = ByteReader(bytes)
        let id = try reader.read(UInt16.self)
        let flags = try reader.read(UInt16.self)
        guard flags >> 15 == 1 else { return nil }
        let questions = try reader.read(UInt16.self)
        let answers = try reader.read(UInt16.self)
        _ = try reader.read(byteCount: 4)
        for _ in 0..<questions {
            try skipName(&reader)
            _ = try reader.read(byteCount: 4)
        }
        var addresses: [UInt32] = []
        for _ in 0..<answers {
            try skipName(&reader)
            let type = try reader.read(UInt16.self)
            _ = try reader.read(byteCount: 6)
            let count = Int(try reader.read(UInt16.self))
            if type == 1, count == 4 {
                addresses.append(try reader.read(UInt32.self))
            } else {
                _ = try reader.read(byteCount: count)
            }
        }
        let answer = NameAnswer(code: UInt8(flags & 15), addresses: addresses.sorted())
        return .name(id: id, answer)
    }

    /// Passes over a name, whose last label may point elsewhere.
    private static func skipName(_ reader: inout ByteReader) throws(WireError) {
        while true {
            let length = try reader.read(UInt8.self)
            if length == 0 { return }
            if length >= 192 {
                _ = try reader.read(UInt8.self)
                return
            }
            _ = try reader.read(byteCount: Int(length))
        }
    }
}
