// Stands in for the CryptoPrimitives written in parallel; goes when that is merged.

public import Base
import CSodium

public enum SHA256 {
    public static func digest(_ parts: [UInt8]...) -> Bytes32 {
        var out = [UInt8](repeating: 0, count: 32)
        let joined = parts.count == 1 ? parts[0] : Array(parts.joined())
        _ = unsafe crypto_hash_sha256(&out, joined, UInt64(joined.count))
        return Bytes32(out) ?? .zero
    }
}

public final class Secret: Sendable {
    let bytes: [UInt8]
    public init(copying bytes: [UInt8]) { self.bytes = bytes }
    public var byteCount: Int { bytes.count }
}

public enum Ed25519 {
    public struct SigningKey {
        private let secret: [UInt8]
        public let publicKey: Bytes32
        public init(seed: Secret) {
            precondition(seed.byteCount == 32)
            var sk = [UInt8](repeating: 0, count: 64)
            var pk = [UInt8](repeating: 0, count: 32)
            _ = unsafe crypto_sign_ed25519_seed_keypair(&pk, &sk, seed.bytes)
            secret = sk
            publicKey = Bytes32(pk) ?? .zero
        }
        public func sign(_ message: [UInt8]) -> [UInt8] {
            var out = [UInt8](repeating: 0, count: 64)
            _ = unsafe crypto_sign_ed25519_detached(
                &out, nil, message, UInt64(message.count), secret)
            return out
        }
    }

    public static func isValid(
        _ signature: [UInt8], of message: [UInt8], by publicKey: Bytes32
    ) -> Bool {
        guard signature.count == 64 else { return false }
        let result = unsafe crypto_sign_ed25519_verify_detached(
            signature, message, UInt64(message.count), publicKey.bytes)
        return result == 0
    }
}

public enum SignatureLabel: String, Sendable {
    case order, vote, link, desc, cons, grant
    public func message(network: Bytes32, _ bytes: [UInt8]) -> [UInt8] {
        let name = Array("umbel/1/\(rawValue)".utf8)
        return name + [UInt8](repeating: 0, count: 16 - name.count) + network.bytes + bytes
    }
}

public struct RandomGenerator: ~Copyable {
    private let key: [UInt8]
    private var counter: UInt64 = 0
    private var pool: [UInt8] = []
    public init(seed: Secret) {
        precondition(seed.byteCount == 32)
        key = seed.bytes
    }
    public mutating func next() -> UInt64 {
        if pool.isEmpty {
            pool = [UInt8](repeating: 0, count: 4096)
            let nonce = (0..<8).map { UInt8(truncatingIfNeeded: counter >> (8 * UInt64($0))) }
            _ = unsafe crypto_stream_chacha20(&pool, 4096, nonce, key)
            counter += 1
        }
        let value = pool.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        pool.removeLast(8)
        return value
    }
    public mutating func next(below bound: UInt64) -> UInt64 {
        precondition(bound > 0)
        while true {
            let (high, low) = next().multipliedFullWidth(by: bound)
            if low >= (0 &- bound) % bound { return high }
        }
    }
}
