import Base
import CryptoPrimitives
import Wire

/// Handshakes, field by field, by the names of §B.2 and §B.5.
enum HandshakeFields {
    /// A datagram whose session number is 0.
    static func handshake(_ bytes: [UInt8]) -> Field {
        do throws(WireError) {
            switch try HandshakeDatagram(parsing: bytes) {
            case .initiation(let initiation):
                return Field(
                    "datagram",
                    "INIT",
                    [
                        Field("type", 1), Field("version", bytes[5]),
                        Field("rsv", bytes: bytes[6..<8]),
                        Field("my_sid", DatagramDecoder.digits(initiation.session.rawValue)),
                        first(initiation.body), Field("work", initiation.work),
                        Field("random", bytes: initiation.filler),
                        Field("mac1", bytes: initiation.mac1),
                        Field("mac2", bytes: initiation.mac2),
                    ]
                )
            case .response(let response):
                return Field(
                    "datagram",
                    "RESP",
                    [
                        Field("type", 2), Field("version", bytes[5]),
                        Field("rsv", bytes: bytes[6..<8]),
                        Field("my_sid", DatagramDecoder.digits(response.session.rawValue)),
                        Field(
                            "your_sid",
                            DatagramDecoder.digits(response.initiatorSession.rawValue)
                        ),
                        second(response.body), Field("random", bytes: response.filler),
                    ]
                )
            case .cookie(let cookie):
                return Field(
                    "datagram",
                    "COOKIE",
                    [
                        Field("type", 3),
                        Field(
                            "your_sid",
                            DatagramDecoder.digits(cookie.initiatorSession.rawValue)
                        ),
                        Field("effort", cookie.effort), Field("nonce", bytes: cookie.nonce),
                        Field("sealed cookie", bytes: cookie.sealedCookie),
                        Field("random", bytes: cookie.filler),
                    ]
                )
            }
        } catch {
            return Field("datagram", "handshake that cannot be read: \(error)")
        }
    }

    /// An opened body of a cell.
    static func body(_ inside: [UInt8], of command: CellCommand?) -> Field {
        do throws(WireError) {
            switch command {
            case .create:
                let body = try CreateBody(parsing: front(inside, CreateBody.circuitByteCount))
                return first(body)
            case .created:
                return second(try CreatedBody(parsing: front(inside, CreatedBody.byteCount)))
            case .destroy:
                let code = inside.first ?? 0
                let reason = DestroyReason(rawValue: code)
                return reason.map { Field("reason", $0) } ?? Field("reason", code, means: "unknown")
            default:
                return control(try LinkControlMessage(parsing: inside))
            }
        } catch {
            return Field("body", "cannot be read: \(error)")
        }
    }

    private static func front(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
        Array(bytes.prefix(count))
    }

    private static func control(_ message: LinkControlMessage) -> Field {
        let (type, name, fields): (UInt8, String, [Field]) =
            switch message {
            case .ping(let nonce): (1, "PING", [Field("nonce", nonce)])
            case .pong(let nonce, let time):
                (2, "PONG", [Field("nonce", nonce), Field("time", time)])
            case .rekey(let session, let body):
                (
                    3, "REKEY",
                    [Field("my_sid", DatagramDecoder.digits(session.rawValue)), first(body)]
                )
            case .rekeyed(let session, let other, let body):
                (
                    4, "REKEYED",
                    [
                        Field("my_sid", DatagramDecoder.digits(session.rawValue)),
                        Field("your_sid", DatagramDecoder.digits(other.rawValue)), second(body),
                    ]
                )
            case .close: (5, "CLOSE", [])
            }
        return Field("LINK_CTRL", name, [Field("type", type, means: name)] + fields)
    }

    /// The first message of a handshake.
    static func first(_ body: CreateBody) -> Field {
        Field(
            "first message",
            "",
            [
                Field("key_id", DatagramDecoder.digits(body.keyID)),
                Field("X", bytes: body.publicKey.bytes), Field("ct", bytes: body.ciphertext),
                Field("c_cm", bytes: body.sealedMessage),
            ]
        )
    }

    /// The second message of a handshake.
    static func second(_ body: CreatedBody) -> Field {
        Field(
            "second message",
            "",
            [
                Field("Y", bytes: body.publicKey.bytes),
                Field("c_sm", bytes: body.sealedMessage),
            ]
        )
    }

    /// CM, opened.
    static func clientMessage(_ bytes: [UInt8]) -> Field {
        do throws(WireError) {
            let message = try ClientMessage(parsing: bytes)
            return Field(
                "CM",
                "",
                [
                    Field("version", ClientMessage.version), Field("hop", message.hop),
                    Field("suite", message.suite),
                    Field("mode", message.mode, means: name(ofMode: message.mode)),
                    Field("minute", message.minute), Field("slot", message.slot),
                    Field("up rate", message.upRate), Field("down rate", message.downRate),
                    Field(
                        "flags",
                        message.flags,
                        means: message.isFirstContact ? "first contact" : nil
                    ), Field("rsv", bytes: bytes.dropFirst(14).prefix(18)),
                ]
            )
        } catch {
            return Field("CM", "cannot be read: \(error)")
        }
    }

    private static func name(ofMode code: UInt8) -> String? {
        let names = ["fast", "padded", "mix"]
        return names.indices.contains(Int(code)) ? names[Int(code)] : nil
    }

    /// SM, opened.
    static func serverMessage(_ bytes: [UInt8]) -> Field {
        do throws(WireError) {
            let message = try ServerMessage(parsing: bytes)
            return Field(
                "SM",
                "",
                [
                    Field(
                        "status",
                        message.status.rawValue,
                        means: message.status == .accepted ? "accepted" : "NO_EARLY"
                    ), Field("load", message.load),
                    Field("window_ticks", message.windowTicks),
                    Field("valid_after", message.consensusValidAfter),
                    Field("digest", bytes: message.consensusDigest),
                    Field("log_size", message.logSize), Field("features", message.features),
                    Field("boot_minute", message.bootMinute), Field("minute", message.minute),
                    Field("seen_ip", message.seenAddress.map { "\($0.ip)" } ?? "not said"),
                    Field("seen_port", message.seenAddress?.port ?? 0),
                    Field("rsv", bytes: bytes.dropFirst(58)),
                ]
            )
        } catch {
            return Field("SM", "cannot be read: \(error)")
        }
    }
}
