import Base
import CryptoPrimitives
import Wire

/// A responder's side of cookies: proof of address, and of work, without state per sender.
///
/// A cookie is a keyed hash of the sender's address under a secret of two minutes; the one before
/// still counts. Spec: §B.5.
struct CookieJar: Sendable {
    private static let life: TimeSpan = .seconds(120)

    private var secrets: [[UInt8]]
    private var turned: Instant

    init(random: inout RandomGenerator, now: Instant) {
        secrets = [random.bytes(32), random.bytes(32)]
        turned = now
    }

    mutating func isProven(
        _ initiation: LinkInitiation,
        source: SocketAddress,
        effort: UInt8,
        now: Instant,
        random: inout RandomGenerator
    ) -> Bool {
        turn(now: now, random: &random)
        for secret in secrets {
            let cookie = cookie(for: source, secret: secret)
            let expected = Cookie.mac2(over: initiation.datagram, cookie: cookie)
            guard Cookie.areEqual(expected, initiation.mac2) else { continue }
            guard effort > 0 else { return true }
            let front = Array(initiation.datagram[..<LinkInitiation.workByteCount])
            return Cookie.isSolved(
                cookie: cookie,
                inner: BLAKE2b.hash(front, byteCount: 32),
                work: initiation.work,
                effort: effort
            )
        }
        return false
    }

    mutating func answer(
        to initiation: LinkInitiation,
        source: SocketAddress,
        effort: UInt8,
        publicKey: [UInt8],
        now: Instant,
        random: inout RandomGenerator
    ) -> [UInt8] {
        turn(now: now, random: &random)
        let nonce = random.bytes(24)
        return LinkCookie(
            initiatorSession: initiation.session,
            effort: effort,
            nonce: nonce,
            sealedCookie: Cookie.seal(
                cookie(for: source, secret: secrets[0]),
                effort: effort,
                nonce: nonce,
                publicKey: publicKey,
                mac1: initiation.mac1
            ),
            filler: random.bytes(LinkCookie.fillerByteCount)
        ).encoded
    }

    private func cookie(for source: SocketAddress, secret: [UInt8]) -> [UInt8] {
        BLAKE2b.hash(
            source.ip.bytes,
            [UInt8(truncatingIfNeeded: source.port >> 8), UInt8(truncatingIfNeeded: source.port)],
            key: secret,
            byteCount: 16
        )
    }

    private mutating func turn(now: Instant, random: inout RandomGenerator) {
        guard now - turned >= Self.life else { return }
        // After a long pause both are stale.
        let keepsNewest = now - turned < Self.life * 2
        secrets = [random.bytes(32), keepsNewest ? secrets[0] : random.bytes(32)]
        turned = now
    }
}
