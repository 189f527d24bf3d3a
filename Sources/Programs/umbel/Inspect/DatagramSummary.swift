import Base
import Wire

/// What a datagram is, in a few words: `FORWARD to hop 3: packet, TCP 10.111.0.2:4021 > 192.0.2.1:80`.
struct DatagramSummary {
    /// Whether the keys' owner sent it; `nil` where no key tells.
    let isSent: Bool?
    /// The words; empty for one that cannot be read at all.
    let text: String
    /// The number of its circuit on this link; `nil` where it has none.
    let circuit: String?

    /// Sums up the fields of a datagram, as ``DatagramDecoder`` gives them.
    init(_ datagram: Field) {
        isSent = ["sent": true, "received": false][datagram.value]
        guard isSent != nil, let command = datagram.word("command") else {
            circuit = nil
            text = datagram.value.isEmpty ? "sealed; no key opens it" : datagram.value
            return
        }
        let number = datagram.part("circuit")?.value
        circuit = number == "00000000" ? nil : number
        switch command {
        case "LINK_CTRL": text = "LINK_CTRL \(datagram.part("LINK_CTRL")?.value ?? "")"
        case "DESTROY": text = "DESTROY, \(datagram.word("reason") ?? "sealed")"
        case "FORWARD", "BACKWARD":
            let way = command == "FORWARD" ? "to" : "from"
            text = "\(command) \(Self.inside(datagram, way, passing: nil))"
        default: text = command
        }
    }

    /// What is in the innermost layer that could be opened, and whose it is.
    private static func inside(_ field: Field, _ way: String, passing last: String?) -> String {
        guard let layer = field.part("layer"), let command = layer.word("command") else {
            return last.map { "beyond hop \($0), sealed" } ?? "sealed"
        }
        let hop = String(layer.value.prefix { $0 != " " })
        switch command {
        case "FORWARD": return inside(layer, way, passing: hop)
        case "DELIVER":
            let records = layer.parts.filter { $0.name == "record" }.map(record)
            let text = records.isEmpty ? "nothing" : records.joined(separator: ", ")
            return "\(way) hop \(hop): \(text)"
        default: return "\(way) hop \(hop): \(command)"
        }
    }

    private static func record(_ record: Field) -> String {
        switch record.value {
        case "1 packet": "packet" + (record.part("packet").flatMap { packet($0.value) } ?? "")
        case "16 CTRL": record.word("type") ?? "CTRL"
        default: record.value.split(separator: " ").dropFirst().joined(separator: " ")
        }
    }

    /// The ends of an IP packet; `nil` where it cannot be read.
    private static func packet(_ digits: String) -> String? {
        guard let bytes = [UInt8](hex: digits),
            let header = try? IPHeader(parsing: bytes.span.bytes, 0..<bytes.count)
        else { return nil }
        let names: [UInt8: String] = [1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"]
        let name = names[header.protocolNumber] ?? "protocol \(header.protocolNumber)"
        let ports = header.transportOffset
        guard [6, 17].contains(header.protocolNumber), !header.isLaterFragment,
            bytes.count >= ports + 4
        else { return " \(name) \(header.source) > \(header.destination)" }
        let ends = [(header.source, ports), (header.destination, ports + 2)].map { ip, offset in
            SocketAddress(ip: ip, port: UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]))
        }
        return " \(name) \(ends[0]) > \(ends[1])"
    }
}

extension Field {
    /// The first field of a name within it.
    func part(_ name: String) -> Field? {
        parts.first { $0.name == name }
    }

    /// What the number in a field means: `FORWARD` of `1 FORWARD`; the value where it is no number.
    fileprivate func word(_ name: String) -> String? {
        guard let value = part(name)?.value else { return nil }
        let words = value.split(separator: " ", maxSplits: 1)
        return words.count == 2 && Int(words[0]) != nil ? String(words[1]) : value
    }
}
