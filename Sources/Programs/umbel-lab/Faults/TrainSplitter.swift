import Base
import Foundation

/// Rewrites a capture so that a train of datagrams, which a virtual cable shows as one frame, is
/// the datagrams a real cable would have shown.
///
/// Reads and writes classic pcap of Ethernet. A UDP packet longer than the cable's MTU can only be
/// a train; each of its datagrams has ``segmentByteCount`` payload bytes, the last perhaps fewer,
/// with lengths, IPv4 identification and checksums of its own. Everything else is copied.
struct TrainSplitter {
    /// The longest IP packet the cable carries.
    var mtu = 1500
    /// Payload bytes of every datagram but the last: the network's datagram (protocol §C.2).
    var segmentByteCount = 1392

    /// What a rewriting did.
    struct Outcome: Hashable {
        var frameCount = 0
        var trainCount = 0
        var datagramCount = 0
    }

    /// Rewrites the capture in `source` into `target`.
    ///
    /// - Throws: ``LabError`` where `source` is no such capture or a file fails; a capture cut off
    ///   in its last record, as by a full disk, is taken up to there.
    func rewrite(_ source: String, to target: String) throws(LabError) -> Outcome {
        do {
            let input = try FileHandle(forReadingFrom: URL(fileURLWithPath: source))
            defer { try? input.close() }
            guard FileManager.default.createFile(atPath: target, contents: nil) else {
                throw LabError("cannot write \(target)", why: "the file cannot be made")
            }
            let output = try FileHandle(forWritingTo: URL(fileURLWithPath: target))
            defer { try? output.close() }
            return try rewrite(input, source, to: output)
        } catch let error as LabError {
            throw error
        } catch {
            throw LabError("cannot rewrite \(source) to \(target)", why: "\(error)")
        }
    }

    private func rewrite(
        _ input: FileHandle,
        _ name: String,
        to output: FileHandle
    ) throws -> Outcome {
        let header = [UInt8](try input.read(upToCount: 24) ?? Data())
        guard let order = ByteOrder(captureHeader: header) else {
            throw LabError("\(name) is no Ethernet capture", why: "its header says otherwise")
        }
        var result = Outcome()
        var pending = Data(header)
        while let record = try input.read(upToCount: 16).map([UInt8].init), record.count == 16 {
            let length = Int(order.load(record, 8))
            guard length <= 1 << 18,
                let frame = try input.read(upToCount: length).map([UInt8].init),
                frame.count == length
            else { break }
            result.frameCount += 1
            let isWhole = order.load(record, 12) == UInt32(length)
            let parts = isWhole ? split(frame) : [frame]
            if parts.count > 1 { result.trainCount += 1 }
            result.datagramCount += parts.count
            for part in parts {
                pending.append(contentsOf: record[..<8])
                let count = parts.count > 1 ? UInt32(part.count) : order.load(record, 12)
                pending.append(contentsOf: order.bytes(UInt32(part.count)) + order.bytes(count))
                pending.append(contentsOf: part)
            }
            if pending.count > 1 << 20 {
                try output.write(contentsOf: pending)
                pending.removeAll(keepingCapacity: true)
            }
        }
        try output.write(contentsOf: pending)
        return result
    }

    /// The frames `frame` stands for: itself, or the datagrams of its train.
    func split(_ frame: [UInt8]) -> [[UInt8]] {
        guard let layout = DatagramLayout(frame), layout.packetByteCount > mtu,
            layout.payload.count > segmentByteCount
        else { return [frame] }
        var frames: [[UInt8]] = []
        var start = layout.payload.lowerBound
        while start < layout.payload.upperBound {
            let end = min(start + segmentByteCount, layout.payload.upperBound)
            frames.append(layout.frame(of: frame, payload: start..<end, index: frames.count))
            start = end
        }
        return frames
    }

    /// The order a capture's numbers are in.
    private struct ByteOrder {
        var isLittle: Bool

        init?(captureHeader header: [UInt8]) {
            guard header.count == 24 else { return nil }
            switch header[..<4] {
            case [0xd4, 0xc3, 0xb2, 0xa1], [0x4d, 0x3c, 0xb2, 0xa1]: isLittle = true
            case [0xa1, 0xb2, 0xc3, 0xd4], [0xa1, 0xb2, 0x3c, 0x4d]: isLittle = false
            default: return nil
            }
            guard load(header, 20) & 0xffff == 1 else { return nil }
        }

        func load(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
            let four = bytes[offset..<offset + 4]
            return (isLittle ? four.reversed() : Array(four)).reduce(0) { $0 << 8 | UInt32($1) }
        }

        func bytes(_ value: UInt32) -> [UInt8] {
            let big = (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
            return isLittle ? big.reversed() : big
        }
    }
}

/// Where the parts of an Ethernet frame with one whole UDP datagram lie.
private struct DatagramLayout {
    static let ethernetByteCount = 14
    static let udpByteCount = 8

    var isV4: Bool
    /// Where the UDP header begins.
    var udp: Int
    /// The UDP payload.
    var payload: Range<Int>

    /// Bytes of the IP packet.
    var packetByteCount: Int { payload.upperBound - Self.ethernetByteCount }

    /// Reads `frame`; `nil` for anything but an unfragmented UDP datagram without IPv6 extensions.
    init?(_ frame: [UInt8]) {
        let ip = Self.ethernetByteCount
        guard frame.count >= ip + 28 else { return nil }
        let length: Int
        switch (frame[12], frame[13]) {
        case (0x08, 0x00):
            let header = Int(frame[ip] & 15) * 4
            let isFragment = frame[ip + 6] & 0x3f != 0 || frame[ip + 7] != 0
            guard frame[ip] >> 4 == 4, header >= 20, frame[ip + 9] == 17, !isFragment else {
                return nil
            }
            isV4 = true
            udp = ip + header
            length = Self.load(frame, ip + 2)
        case (0x86, 0xdd):
            guard frame[ip] >> 4 == 6, frame[ip + 6] == 17 else { return nil }
            isV4 = false
            udp = ip + 40
            length = 40 + Self.load(frame, ip + 4)
        default: return nil
        }
        guard frame.count >= ip + length, ip + length >= udp + Self.udpByteCount else { return nil }
        payload = udp + Self.udpByteCount..<ip + length
    }

    /// The frame of one datagram of the train.
    func frame(of train: [UInt8], payload: Range<Int>, index: Int) -> [UInt8] {
        let ip = Self.ethernetByteCount
        var frame = Array(train[..<(udp + Self.udpByteCount)]) + train[payload]
        let udpByteCount = Self.udpByteCount + payload.count
        if isV4 {
            Self.store(&frame, ip + 2, udp - ip + udpByteCount)
            Self.store(&frame, ip + 4, (Self.load(train, ip + 4) + index) & 0xffff)
            Self.store(&frame, ip + 10, 0)
            Self.store(&frame, ip + 10, Self.checksum(frame[ip..<udp], 0))
        } else {
            Self.store(&frame, ip + 4, udpByteCount)
        }
        Self.store(&frame, udp + 4, udpByteCount)
        Self.store(&frame, udp + 6, 0)
        let addresses = isV4 ? frame[ip + 12..<ip + 20] : frame[ip + 8..<ip + 40]
        let pseudo = Self.sum(addresses) + 17 + UInt64(udpByteCount)
        let sum = Self.checksum(frame[udp...], pseudo)
        Self.store(&frame, udp + 6, sum == 0 ? 0xffff : sum)
        return frame
    }

    private static func load(_ bytes: [UInt8], _ offset: Int) -> Int {
        Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
    }

    private static func store(_ bytes: inout [UInt8], _ offset: Int, _ value: Int) {
        bytes[offset] = UInt8(truncatingIfNeeded: value >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
    }

    private static func sum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        var sum: UInt64 = 0
        for (position, byte) in bytes.enumerated() {
            sum += UInt64(byte) << (position % 2 == 0 ? 8 : 0)
        }
        return sum
    }

    /// The Internet checksum of `bytes` and what `start` already sums.
    private static func checksum(_ bytes: ArraySlice<UInt8>, _ start: UInt64) -> Int {
        var total = start + sum(bytes)
        while total >> 16 != 0 { total = total & 0xffff + total >> 16 }
        return Int(~total & 0xffff)
    }
}
