import Base
import Wire

/// Records of a DELIVER layer and the messages in them, by the names of §C.4 and §A.1.
enum RecordFields {
    /// The records in `content`, to the padding or to what cannot be read.
    ///
    /// - Parameter parts: what came before in the same conversation, for messages of several parts.
    static func records(
        _ content: [UInt8],
        fromClient: Bool,
        joining parts: inout ControlParts
    ) -> [Field] {
        var fields: [Field] = []
        var offset = 0
        while offset < content.count, content[offset] != 0 {
            guard offset + 3 <= content.count else {
                return fields + [Field("record", "is cut off")]
            }
            let kind = content[offset]
            let count = Int(content[offset + 1]) << 8 | Int(content[offset + 2])
            guard offset + 3 + count <= content.count else {
                return fields + [Field("record", "is longer than its cell")]
            }
            let body = Array(content[(offset + 3)..<(offset + 3 + count)])
            fields.append(record(kind, body, fromClient, &parts))
            offset += 3 + count
        }
        if offset < content.count { fields.append(Field("padding", content.count - offset)) }
        return fields
    }

    private static func record(
        _ kind: UInt8,
        _ body: [UInt8],
        _ fromClient: Bool,
        _ conversation: inout ControlParts
    ) -> Field {
        var parts = [Field("length", body.count)]
        do throws(WireError) {
            var reader = ByteReader(body)
            switch kind {
            case 1:
                parts.append(Field("packet", bytes: body))
                return Field("record", "1 packet", parts)
            case 2:
                parts.append(Field("id", try reader.read(UInt16.self)))
                parts.append(Field("total", try reader.read(UInt16.self)))
                parts.append(Field("data", bytes: reader.readRemaining()))
                return Field("record", "2 first fragment", parts)
            case 3:
                parts.append(Field("id", try reader.read(UInt16.self)))
                parts.append(Field("offset", try reader.read(UInt16.self)))
                parts.append(Field("data", bytes: reader.readRemaining()))
                return Field("record", "3 further fragment", parts)
            case 16:
                let fields = try control(body, fromClient, &conversation)
                return Field("record", "16 CTRL", parts + fields)
            case 17:
                let flags = try reader.read(UInt8.self)
                parts.append(Field("flags", flags, means: flags & 1 == 1 ? "came back" : nil))
                parts.append(Field("sequence", try reader.read(UInt32.self)))
                parts.append(Field("mark", try reader.read(UInt64.self)))
                return Field("record", "17 PROBE", parts)
            default:
                parts.append(Field("bytes", bytes: body))
                return Field("record", "\(kind) unknown", parts)
            }
        } catch {
            return Field("record", "\(kind) that cannot be read: \(error)", parts)
        }
    }

    private static func control(
        _ body: [UInt8],
        _ fromClient: Bool,
        _ conversation: inout ControlParts
    ) throws(WireError) -> [Field] {
        let record = try ControlRecord(parsing: body)
        var fields = [
            Field("seq", record.sequence), Field("ack", record.acknowledged),
            Field("ackbits", record.acknowledgedBits),
            Field("type", record.type, means: name(of: record.type, fromClient)),
        ]
        guard record.type != 0 else { return fields }
        if record.goesOn {
            conversation.keep(record)
            fields.append(Field("message", "goes on in the next number"))
            fields.append(Field("part", bytes: record.message))
            return fields
        }
        let (message, count) = conversation.whole(record)
        if count > 1 { fields.append(Field("message", "the last of \(count) parts")) }
        do throws(WireError) {
            fields += self.fields(
                of: try ControlMessage(type: record.type, parsing: message, fromClient: fromClient)
            )
        } catch {
            // The end of one that began before the capture has no beginning here.
            fields.append(Field("message", "cannot be read: \(error)"))
            fields.append(Field("part", bytes: record.message))
        }
        return fields
    }

    private static func name(of type: UInt8, _ fromClient: Bool) -> String {
        let names = [
            "ACK", "EXTEND", "EXTENDED", fromClient ? "PAY_OPEN" : "PAY_RESULT", "PAY_TICK",
            "PAY_ATTACH", "STAT", "OPEN_TUN", "ECHO", "RATCHET", "CLOSE", "DIRECTORY", "MINT",
            "PAY_PASS",
        ]
        return names.indices.contains(Int(type)) ? names[Int(type)] : "unknown"
    }

    private static func fields(of message: ControlMessage) -> [Field] {
        switch message {
        case .extend(let next, let create):
            [Field("relay_id", next.rawValue.hex)] + first(create)
        case .extended(.created(let created)):
            [Field("status", 0)] + second(created)
        case .extended(.failed(let failure)):
            [Field("status", failure)]
        case .openTunnel(let request):
            [
                Field("families", request.families, means: families(request.families)),
                Field("secret", request.leaseSecret.hex),
            ]
        case .tunnelOpened(let answer):
            [
                Field("status", answer.status),
                Field("families", answer.families, means: families(answer.families)),
                Field("secret", answer.leaseSecret.hex), Field("idle", answer.idleLimit),
            ]
        case .echo(let isAnswer, let nonce):
            [
                Field("flags", UInt8(isAnswer ? 1 : 0), means: isAnswer ? "answer" : nil),
                Field("nonce", nonce),
            ]
        case .close(let reason): [Field("reason", reason)]
        case .payOpen(let open):
            [
                Field("epoch", open.voucher.epoch),
                Field(
                    "denom",
                    open.voucher.denomination.rawValue | open.voucher.setVersion << 4,
                    means:
                        "\(Field.words(of: open.voucher.denomination)), set \(open.voucher.setVersion)"
                ),
                Field("w_0", open.voucher.root.hex),
                Field("rc", open.voucher.reclaimCommitment.hex),
            ] + open.voucher.signatures.map { Field("signature", bytes: $0) } + place(open.place)
        case .payResult(let result):
            [
                Field("status", result.status),
                Field("paid", result.paidTicks),
            ]
        case .payTick(let place): self.place(place)
        case .payAttach(let attach): [Field("vid", attach.voucher.hex)] + place(attach.place)
        case .reportAsk: []
        case .report(let report):
            [
                Field("paid", report.paidTicks), Field("forward in", report.forwardIn),
                Field("forward out", report.forwardOut), Field("backward in", report.backwardIn),
                Field("backward out", report.backwardOut), Field("queue drops", report.queueDrops),
                Field("queue delay", report.queueDelay, means: "x 100 us"),
            ]
        case .payPass(let pass):
            [
                Field("authority", pass.authority), Field("minute", pass.minute),
                Field("nonce", bytes: pass.nonce), Field("signature", bytes: pass.signature),
            ]
        case .directoryAsk(let ask):
            [
                Field("kind", ask.kind),
                Field("digest", ask.digest.hex), Field("offset", ask.offset),
            ]
        case .directoryPart(let part):
            [
                Field("status", part.status),
                Field("tag", DatagramDecoder.digits(part.tag)), Field("total", part.total),
                Field("offset", part.offset),
                Field("bytes", bytes: part.bytes),
            ]
        case .mintAsk(let ask):
            [
                Field("id", ask.id), Field("mint", ask.mint), Field("total", ask.total),
                Field("offset", ask.offset), Field("bytes", bytes: ask.bytes),
            ]
        case .mintAnswer(let part):
            [
                Field("id", part.id),
                Field(
                    "status",
                    part.status.rawValue,
                    means: part.status == .answered ? "bytes" : Field.words(of: part.status)
                ),
                Field("total", part.total), Field("offset", part.offset),
                Field("bytes", bytes: part.bytes),
            ]
        }
    }

    private static func families(_ bits: UInt8) -> String? {
        let names = [(UInt8(1), "IPv4"), (2, "IPv6")].filter { bits & $0.0 != 0 }.map(\.1)
        return names.isEmpty ? nil : names.joined(separator: ", ")
    }

    private static func place(_ place: ChainPlace) -> [Field] {
        [Field("idx", place.index), Field("w_idx", place.value.hex)]
    }

    private static func first(_ bytes: [UInt8]) -> [Field] {
        guard let body = try? CreateBody(parsing: bytes) else {
            return [Field("first message", bytes: bytes)]
        }
        return [HandshakeFields.first(body)]
    }

    private static func second(_ bytes: [UInt8]) -> [Field] {
        guard let body = try? CreatedBody(parsing: bytes) else {
            return [Field("second message", bytes: bytes)]
        }
        return [HandshakeFields.second(body)]
    }
}
