import Base
import CryptoPrimitives
import Wire

/// Reads datagrams of the network field by field, as far as keys reach.
///
/// Spec: §B.5 (handshakes), §C.2 (datagram), §C.3 (layers), §C.4 (records).
struct DatagramDecoder {
    private let keys: RevealedKeys
    /// Messages that came in parts so far, of each layer and direction.
    private var conversations: [Conversation: ControlParts] = [:]

    private struct Conversation: Hashable {
        var layer: Int
        var isForward: Bool
    }

    /// Makes a decoder that has these keys.
    init(keys: RevealedKeys) {
        self.keys = keys
    }

    /// The fields of a datagram; those of one circuit are given in the order they came.
    mutating func decode(_ bytes: [UInt8]) -> Field {
        guard bytes.count == Datagram.byteCount else {
            return Field("datagram", "of \(bytes.count) bytes is none of Umbel's")
        }
        let session = Self.word(bytes, Datagram.sessionOffset)
        return session == 0 ? HandshakeFields.handshake(bytes) : cell(bytes, session: session)
    }

    // MARK: Cells

    private mutating func cell(_ bytes: [UInt8], session: UInt32) -> Field {
        var fields = [
            Field("sid", Self.digits(session)),
            Field("seq", Self.word(bytes, Datagram.sequenceOffset)),
        ]
        for link in keys.links where link.local == session || link.remote == session {
            // A session may bear the same number at both ends; the tag tells which it is.
            for isReceived in [link.local == session, false].uniqued() {
                let header = isReceived ? link.receiveHeader : link.sendHeader
                let body = isReceived ? link.receiveBody : link.sendBody
                if let opened = cell(bytes, header: header, body: body) {
                    return Field("datagram", isReceived ? "received" : "sent", fields + opened)
                }
            }
        }
        fields.append(Field("header", "sealed; no key opens it"))
        return Field("datagram", "", fields)
    }

    private mutating func cell(_ bytes: [UInt8], header key: Secret, body bodyKey: Secret)
        -> [Field]?
    {
        let sequence = UInt64(Self.word(bytes, Datagram.sequenceOffset))
        let clear = Array(bytes[0..<Datagram.clearByteCount])
        let sealed = bytes[Datagram.headerOffset..<Datagram.bodyOffset]
        guard
            let opened = Self.open(Array(sealed), key: key, nonce: sequence, authenticating: clear)
        else { return nil }
        let circuit = Self.word(opened, 0)
        let counter = LayerCounter(rawValue: Self.word(opened, 4))
        let command = CellCommand(rawValue: opened[8])
        var fields = [
            Field("circuit", Self.digits(circuit)),
            Field(
                "counter",
                "",
                [Field("epoch", counter.epoch), Field("count", counter.count)]
            ),
            Field("command", opened[8], means: Self.name(of: command)), Field("flags", opened[9]),
            Field("rsv", bytes: opened[10..<12]),
            Field("tag", bytes: bytes[Datagram.headerOffset + 12..<Datagram.bodyOffset]),
        ]
        let body = Array(bytes[Datagram.bodyOffset...])
        switch command {
        case .forward, .backward:
            fields.append(layer(body, isForward: command == .forward, counter: counter))
        case .create, .created, .destroy, .linkControl:
            let inside = Self.open(body, key: bodyKey, nonce: sequence, authenticating: clear)
            guard let inside else {
                fields.append(Field("body", "sealed; the body key does not open it"))
                break
            }
            fields.append(HandshakeFields.body(inside, of: command))
            fields.append(Field("tag", bytes: body.suffix(AEADKey.tagByteCount)))
        case .padding:
            fields.append(Field("body", "random"))
        case nil:
            fields.append(Field("body", bytes: body))
        }
        return fields
    }

    private static func name(of command: CellCommand?) -> String {
        switch command {
        case .padding: "PAD"
        case .forward: "FORWARD"
        case .backward: "BACKWARD"
        case .create: "CREATE"
        case .created: "CREATED"
        case .destroy: "DESTROY"
        case .linkControl: "LINK_CTRL"
        case nil: "unknown"
        }
    }

    // MARK: Layers

    private mutating func layer(
        _ body: [UInt8],
        isForward: Bool,
        counter: LayerCounter,
        at wanted: UInt8? = nil
    ) -> Field {
        for (index, layer) in keys.layers.enumerated()
        where layer.isForward == isForward && layer.epoch == counter.epoch
            && (wanted ?? layer.hop) == layer.hop
        {
            guard let hop = HopIndex(rawValue: layer.hop) else { continue }
            let count = OnionLayer.byteCount(at: hop)
            guard body.count >= count else { continue }
            let nonce = UInt64(counter.rawValue)
            let inside = Self.open(
                Array(body[0..<count]),
                key: layer.key,
                nonce: nonce,
                authenticating: []
            )
            guard let inside else { continue }
            var field = opened(
                inside,
                hop: hop,
                in: Conversation(layer: index, isForward: isForward)
            )
            field.parts.append(Field("tag", bytes: body[count - AEADKey.tagByteCount..<count]))
            if body.count > count { field.parts.append(Field("filler", body.count - count)) }
            return field
        }
        return Field("layer", "sealed; no key opens it")
    }

    private mutating func opened(
        _ bytes: [UInt8],
        hop: HopIndex,
        in conversation: Conversation
    ) -> Field {
        let start = OnionLayer.innerByteCount(at: hop)
        let inside = Array(bytes[0..<start])
        let title = "\(hop.rawValue) (\(OnionLayer.byteCount(at: hop)) bytes)"
        let header: LayerHeader
        do throws(WireError) {
            header = try LayerHeader(parsing: bytes.span.bytes, at: start)
        } catch {
            return Field("layer", title, [Field("header", "cannot be read: \(error)")])
        }
        var fields = [
            Field("command", header.command.rawValue, means: Self.name(of: header.command))
        ]
        guard header.command != .parity else {
            // They stand for those of the four cells before it.
            fields += [
                Field("flags", header.flags.rawValue, means: "XOR of command"),
                Field("aux", header.auxiliary, means: "XOR of aux"),
                Field("next", header.nextCounter, means: "XOR of next"),
                Field("inside", bytes: inside),
            ]
            return Field("layer", title, fields)
        }
        let next = LayerCounter(rawValue: header.nextCounter)
        fields += [
            Field("flags", header.flags.rawValue, means: Self.names(of: header.flags)),
            Field(
                "aux",
                header.auxiliary,
                means: Self.meaning(of: header, at: hop, isForward: conversation.isForward)
            ),
            Field("next", "", [Field("epoch", next.epoch), Field("count", next.count)]),
        ]
        switch header.command {
        case .forward:
            let inner = hop.next.map {
                layer(
                    inside,
                    isForward: conversation.isForward,
                    counter: next,
                    at: $0.rawValue
                )
            }
            fields.append(inner ?? Field("layer", "there is no fourth hop"))
        case .deliver:
            fields += RecordFields.records(
                inside,
                fromClient: conversation.isForward,
                joining: &conversations[conversation, default: ControlParts()]
            )
        case .drop, .parity:
            let isEmpty = inside.allSatisfy { $0 == 0 }
            fields.append(
                isEmpty
                    ? Field("inside", "\(inside.count) zeros") : Field("inside", bytes: inside)
            )
        }
        return Field("layer", title, fields)
    }

    /// What `aux` is in this layer; `nil` where it has no meaning.
    private static func meaning(
        of header: LayerHeader,
        at hop: HopIndex,
        isForward: Bool
    ) -> String? {
        guard header.flags.contains(.slotHold), hop == .second else { return nil }
        return isForward ? "hold in slots" : "forward cells opened"
    }

    private static func name(of command: LayerCommand) -> String {
        switch command {
        case .forward: "FORWARD"
        case .deliver: "DELIVER"
        case .drop: "DROP"
        case .parity: "PARITY"
        }
    }

    private static func names(of flags: LayerHeader.Flags) -> String? {
        let known: [(LayerHeader.Flags, String)] = [
            (.congestionExperienced, "congestion"), (.unpaid, "unpaid"),
            (.slotHold, "by schedule"), (.forwardCongestion, "congestion forward"),
        ]
        let set = known.filter { flags.contains($0.0) }.map(\.1)
        return set.isEmpty ? nil : set.joined(separator: ", ")
    }

    // MARK: Bytes

    /// Opens `sealed`, text and tag, under `key`; `nil` where the tag does not hold.
    static func open(
        _ sealed: [UInt8],
        key: Secret,
        nonce: UInt64,
        authenticating: [UInt8]
    ) -> [UInt8]? {
        guard sealed.count >= AEADKey.tagByteCount else { return nil }
        var bytes = authenticating + sealed
        let text = authenticating.count..<bytes.count - AEADKey.tagByteCount
        let isOpen = AEADKey(key).open(
            &bytes,
            text: text,
            nonce: nonce,
            authenticating: 0..<authenticating.count
        )
        return isOpen ? Array(bytes[text]) : nil
    }

    static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// All hexadecimal digits of a number.
    static func digits(_ number: some FixedWidthInteger & UnsignedInteger) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: number.bitWidth / 4 - text.count) + text
    }
}

extension AEADKey {
    /// Opens in an array what ``open(_:text:tagOffset:nonce:authenticating:)`` opens in a span.
    fileprivate func open(
        _ bytes: inout [UInt8],
        text: Range<Int>,
        nonce: UInt64,
        authenticating: Range<Int>
    ) -> Bool {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        return open(
            &raw,
            text: text,
            tagOffset: text.upperBound,
            nonce: nonce,
            authenticating: authenticating
        )
    }
}

extension [Bool] {
    /// Each value once, in the order they came.
    fileprivate func uniqued() -> Self {
        first == last ? Array(prefix(1)) : self
    }
}
