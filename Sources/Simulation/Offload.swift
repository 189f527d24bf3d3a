import Wire

/// What a kernel does with super-packets at a TUN device, on either side of it.
enum Offload {
    /// Puts the offload header of a plain packet before it.
    static func plain(_ packet: [UInt8]) -> TunInput {
        TunInput(bytes: [UInt8](repeating: 0, count: VirtioNetHeader.byteCount) + packet)
    }

    /// A super-packet of TCP segments as the kernel hands it to a program: sums left undone.
    static func merged(_ packet: Packet, segmentByteCount: Int) -> TunInput {
        var bytes = packet.encoded
        let start = packet.isV6 ? 40 : 20
        // Linux leaves the pseudo-header's sum in the field.
        let whole = Packet.transportSum(bytes, isV6: packet.isV6, transport: packet.transport)
        let pseudo = Packet.fold(whole - Packet.sum(bytes[start...]))
        bytes[start + 16] = UInt8(pseudo >> 8)
        bytes[start + 17] = UInt8(pseudo & 255)
        var header: [UInt8] = [1, packet.isV6 ? 4 : 1]
        for value in [packet.headerByteCount, segmentByteCount, start, 16] {
            header += [UInt8(value & 255), UInt8(value >> 8)]
        }
        return TunInput(bytes: header + bytes)
    }

    enum Fault: Error {
        case header(UInt8)
        case unsummed
        case packet(Packet.Fault)
    }

    /// The packets a program wrote to a TUN device, super-packets split as the kernel does it.
    static func split(_ written: [UInt8]) throws(Fault) -> [Packet] {
        let kind = written[1] & 0x7f
        let bytes = Array(written[VirtioNetHeader.byteCount...])
        guard kind != 0 else {
            guard written[0] & 1 == 0 else { throw .unsummed }
            return [try parse(bytes)]
        }
        let isV6 = bytes[0] >> 4 == 6
        let start = isV6 ? 40 : 20
        let isTCP = kind == 1 || kind == 4
        guard isTCP || kind == 5, isTCP || bytes[isV6 ? 6 : 9] == 17 else { throw .header(kind) }
        let headerEnd = start + (isTCP ? Int(bytes[start + 12] >> 4) * 4 : 8)
        let size = Int(written[4]) | Int(written[5]) << 8
        guard size > 0, headerEnd < bytes.count else { throw .header(kind) }
        var packets: [Packet] = []
        var offset = headerEnd
        while offset < bytes.count {
            let end = min(offset + size, bytes.count)
            var segment = Array(bytes[..<headerEnd]) + bytes[offset..<end]
            let total = segment.count - (isV6 ? 40 : 0)
            segment.replaceSubrange((isV6 ? 4..<6 : 2..<4), with: Packet.words(UInt16(total)))
            if !isV6 {
                let number = Packet.word(segment, 4) &+ UInt16(packets.count)
                segment.replaceSubrange(4..<6, with: Packet.words(number))
                segment.replaceSubrange(10..<12, with: [0, 0])
                let sum = ~Packet.fold(Packet.sum(segment[0..<20]))
                segment.replaceSubrange(10..<12, with: Packet.words(sum))
            }
            if isTCP {
                let first =
                    UInt32(Packet.word(segment, start + 4)) << 16
                    | UInt32(Packet.word(segment, start + 6))
                let sequence = first &+ UInt32(offset - headerEnd)
                segment.replaceSubrange(
                    start + 4..<start + 8,
                    with: Packet.words(UInt16(sequence >> 16))
                        + Packet.words(UInt16(truncatingIfNeeded: sequence))
                )
                if end < bytes.count { segment[start + 13] &= ~0x09 }
            } else {
                segment.replaceSubrange(
                    start + 4..<start + 6,
                    with: Packet.words(UInt16(segment.count - start))
                )
            }
            let field = start + (isTCP ? 16 : 6)
            segment.replaceSubrange(field..<field + 2, with: [0, 0])
            let sum = ~Packet.fold(
                Packet.transportSum(segment, isV6: isV6, transport: isTCP ? .tcp : .udp)
            )
            segment.replaceSubrange(field..<field + 2, with: Packet.words(sum))
            packets.append(try parse(segment))
            offset = end
        }
        return packets
    }

    private static func parse(_ bytes: [UInt8]) throws(Fault) -> Packet {
        do throws(Packet.Fault) {
            return try Packet(parsing: bytes)
        } catch {
            throw .packet(error)
        }
    }
}
