import Base
import CryptoPrimitives
import Wire

/// The keyed hashes that keep strangers from making a relay work.
///
/// Spec: §B.5.
enum Cookie {
    static func mac1(over datagram: [UInt8], publicKey: [UInt8]) -> [UInt8] {
        BLAKE2b.hash(
            Array(datagram[..<LinkInitiation.mac1Offset]),
            key: key("mac1", publicKey),
            byteCount: 16
        )
    }

    static func mac2(over datagram: [UInt8], cookie: [UInt8]) -> [UInt8] {
        BLAKE2b.hash(
            Array(datagram[..<(LinkInitiation.mac1Offset + 16)]),
            key: cookie,
            byteCount: 16
        )
    }

    static func key(_ label: String, _ publicKey: [UInt8]) -> [UInt8] {
        BLAKE2b.hash(Array(label.utf8), publicKey, byteCount: 32)
    }

    static func open(_ answer: LinkCookie, publicKey: [UInt8], mac1: [UInt8]) -> [UInt8]? {
        XChaCha20Poly1305.open(
            answer.sealedCookie,
            key: key("cookie", publicKey),
            nonce: answer.nonce,
            authenticating: mac1 + [answer.effort]
        )
    }

    static func seal(
        _ cookie: [UInt8],
        effort: UInt8,
        nonce: [UInt8],
        publicKey: [UInt8],
        mac1: [UInt8]
    ) -> [UInt8] {
        XChaCha20Poly1305.seal(
            cookie,
            key: key("cookie", publicKey),
            nonce: nonce,
            authenticating: mac1 + [effort]
        )
    }

    /// Whether `work` shows `effort` leading zero bits; `inner` is the hash of what it covers.
    static func isSolved(cookie: [UInt8], inner: [UInt8], work: UInt64, effort: UInt8) -> Bool {
        var writer = ByteWriter(capacity: 8)
        writer.write(work)
        let digest = BLAKE2b.hash(cookie, inner, writer.bytes, byteCount: 32)
        let front = digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return front.leadingZeroBitCount >= Int(effort)
    }

    /// Compares two public-length byte strings without telling where they differ.
    static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
