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
                        Field("my_sid", DatagramDecoder.digits(initiation.session.rawValue)),
                        first(initiation.body), Field("work", initiation.work),
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
                        Field("my_sid", DatagramDecoder.digits(response.session.rawValue)),
                        Field(
                            "your_sid",
                            DatagramDecoder.digits(response.initiatorSession.rawValue)
                        ),
                        second(response.body),
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
                return Field(
                    "reason",
                    code,
                    means: DestroyReason(rawValue: code).map { "\($0)" } ?? "unknown"
                )
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
        switch message {
        case .ping(let nonce): Field("LINK_CTRL", "PING", [Field("nonce", nonce)])
        case .pong(let nonce, let time):
            Field("LINK_CTRL", "PONG", [Field("nonce", nonce), Field("time", time)])
        case .close: Field("LINK_CTRL", "CLOSE")
        case .rekey(let session, let body):
            Field(
                "LINK_CTRL",
                "REKEY",
                [Field("my_sid", DatagramDecoder.digits(session.rawValue)), first(body)]
            )
        case .rekeyed(let session, let other, let body):
            Field(
                "LINK_CTRL",
                "REKEYED",
                [
                    Field("my_sid", DatagramDecoder.digits(session.rawValue)),
                    Field("your_sid", DatagramDecoder.digits(other.rawValue)), second(body),
                ]
            )
        }
    }

    /// The first message of a handshake.
    static func first(_ body: CreateBody) -> Field {
        Field(
            "first message",
            "",
            [
                Field("key_id", String(body.keyID, radix: 16)),
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
                    Field("suite", message.suite), Field("mode", message.mode),
                    Field("minute", message.minute), Field("slot", message.slot),
                    Field("up rate", message.upRate), Field("down rate", message.downRate),
                    Field("flags", message.flags),
                ]
            )
        } catch {
            return Field("CM", "cannot be read: \(error)")
        }
    }

    /// SM, opened.
    static func serverMessage(_ bytes: [UInt8]) -> Field {
        do throws(WireError) {
            let message = try ServerMessage(parsing: bytes)
            return Field(
                "SM",
                "",
                [
                    Field("status", message.status.rawValue), Field("load", message.load),
                    Field("window_ticks", message.windowTicks),
                    Field("valid_after", message.consensusValidAfter),
                    Field("digest", bytes: message.consensusDigest),
                    Field("log_size", message.logSize), Field("features", message.features),
                    Field("boot_minute", message.bootMinute), Field("minute", message.minute),
                    Field("seen", message.seenAddress.map { "\($0)" } ?? "not said"),
                ]
            )
        } catch {
            return Field("SM", "cannot be read: \(error)")
        }
    }
}
