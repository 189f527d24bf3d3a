import Base
import CryptoPrimitives
import FoundationEssentials
import Wire

/// Known answers of the protocol, decoded by the same names: a file such as `umbel_kat.json`.
struct VectorFile: Decodable {
    private let handshake: Handshake?
    private let voucherMessage: String?

    private enum CodingKeys: String, CodingKey {
        case handshake
        case voucherMessage = "voucher_message"
    }

    private struct Handshake: Decodable {
        let h1: String
        let h3: String
        let cmKey: String
        let smKey: String
        let sealedCM: String
        let sealedSM: String
        let responderKey: String

        enum CodingKeys: String, CodingKey {
            case h1, h3
            case cmKey = "k_cm"
            case smKey = "k_sm"
            case sealedCM = "c_cm"
            case sealedSM = "c_sm"
            case responderKey = "Y"
        }
    }

    /// What the file holds, opened with the keys beside it.
    var fields: [Field] {
        var fields: [Field] = []
        if let handshake {
            if let message = Self.open(handshake.sealedCM, handshake.cmKey, handshake.h1) {
                fields.append(HandshakeFields.clientMessage(message))
            } else {
                fields.append(Field("CM", "c_cm does not open with k_cm and h1"))
            }
            if let sealed = [UInt8](hex: handshake.responderKey + handshake.sealedSM),
                let answer = try? CreatedBody(parsing: sealed)
            {
                fields.append(HandshakeFields.second(answer))
            }
            if let message = Self.open(handshake.sealedSM, handshake.smKey, handshake.h3) {
                fields.append(HandshakeFields.serverMessage(message))
            } else {
                fields.append(Field("SM", "c_sm does not open with k_sm and h3"))
            }
        }
        if let text = voucherMessage, let bytes = [UInt8](hex: text) {
            fields.append(Self.voucher(bytes))
        }
        return fields
    }

    private static func open(_ sealed: String, _ key: String, _ authenticated: String) -> [UInt8]? {
        guard let sealed = [UInt8](hex: sealed), let key = [UInt8](hex: key), key.count == 32,
            let authenticated = [UInt8](hex: authenticated)
        else { return nil }
        return SingleUseAEAD.open(
            sealed,
            key: Secret(copying: key),
            authenticating: authenticated
        )
    }

    /// m, what mints sign blindly.
    private static func voucher(_ bytes: [UInt8]) -> Field {
        do throws(WireError) {
            var reader = ByteReader(bytes)
            let label = try reader.read(byteCount: 16).prefix { $0 != 0 }
            let fields = [
                Field("label", String(decoding: label, as: UTF8.self)),
                Field("netid", try reader.readBytes32().hex),
                Field("epoch", try reader.read(UInt32.self)),
                Field("denom", try reader.read(UInt8.self)),
                Field("relay_id", try reader.readBytes32().hex),
                Field("w_0", try reader.readBytes32().hex),
                Field("rc", try reader.readBytes32().hex),
            ]
            try reader.finish()
            return Field("m", "", fields)
        } catch {
            return Field("m", "cannot be read: \(error)")
        }
    }
}
