public import Base
import CSodium

/// BLAKE2b, RFC 7693: identifiers, proofs of work and the macs of link handshakes.
///
/// Spec: protocol §A.3, §B.5.
public enum BLAKE2b {
    /// The hash of `parts` one after the other, under `key` unless that is empty.
    ///
    /// - Precondition: `byteCount` is 1 to 64, `key` has at most 64 bytes.
    public static func hash(_ parts: [UInt8]..., key: [UInt8] = [], byteCount: Int) -> [UInt8] {
        Sodium.prepare()
        precondition((1...64).contains(byteCount) && key.count <= 64, "outside BLAKE2b")
        let stateByteCount = crypto_generichash_blake2b_statebytes()
        var digest = [UInt8](repeating: 0, count: byteCount)
        unsafe withUnsafeTemporaryAllocation(byteCount: stateByteCount, alignment: 64) { buffer in
            guard let start = buffer.baseAddress else { return }
            let state = OpaquePointer(start)
            unsafe crypto_generichash_blake2b_init(state, key, key.count, byteCount)
            for part in parts {
                unsafe crypto_generichash_blake2b_update(state, part, UInt64(part.count))
            }
            unsafe crypto_generichash_blake2b_final(state, &digest, byteCount)
            unsafe sodium_memzero(start, stateByteCount)
        }
        return digest
    }

    /// The hash of 32 bytes of `bytes`, without allocating: each tick of pay is one.
    public static func digest(_ bytes: [UInt8]) -> Bytes32 {
        Sodium.prepare()
        var words = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        return unsafe withUnsafeMutableBytes(of: &words) { digest in
            guard let target = digest.baseAddress else { preconditionFailure("32 bytes are there") }
            unsafe compute(
                bytes.span.bytes,
                0..<bytes.count,
                [],
                target.assumingMemoryBound(to: UInt8.self),
                32
            )
            return unsafe Bytes32(digest.bytes)
        }
    }

    /// The mac of `range` of `bytes` under `key`.
    ///
    /// - Precondition: `range` lies within `bytes`, `byteCount` is 1 to 64, `key` has at most 64
    ///   bytes.
    public static func mac(
        _ bytes: RawSpan,
        range: Range<Int>,
        key: [UInt8],
        byteCount: Int = macByteCount
    ) -> [UInt8] {
        Sodium.prepare()
        precondition((1...64).contains(byteCount) && key.count <= 64, "outside BLAKE2b")
        var digest = [UInt8](repeating: 0, count: byteCount)
        unsafe compute(bytes, range, key, &digest, byteCount)
        return digest
    }

    /// Whether the 16 bytes of `bytes` from `macOffset` on are the mac of `range` under `key`, in
    /// constant time and without allocating: a flood of forged handshakes ends here.
    ///
    /// - Precondition: `range` and the mac lie within `bytes`, `key` has at most 64 bytes.
    public static func isValidMAC(
        _ bytes: RawSpan,
        range: Range<Int>,
        macOffset: Int,
        key: [UInt8]
    ) -> Bool {
        Sodium.prepare()
        precondition(key.count <= 64, "outside BLAKE2b")
        precondition(
            macOffset >= 0 && macOffset <= bytes.byteCount - macByteCount,
            "mac out of span"
        )
        var expected = (UInt64(0), UInt64(0))
        return unsafe withUnsafeMutableBytes(of: &expected) { expected in
            unsafe bytes.withUnsafeBytes { all in
                guard let mac = expected.baseAddress, let base = all.baseAddress else {
                    return false
                }
                unsafe compute(
                    bytes,
                    range,
                    key,
                    mac.assumingMemoryBound(to: UInt8.self),
                    macByteCount
                )
                return unsafe sodium_memcmp(mac, base + macOffset, macByteCount) == 0
            }
        }
    }

    /// Bytes of the macs in handshake datagrams.
    public static let macByteCount = 16

    private static func compute(
        _ bytes: RawSpan,
        _ range: Range<Int>,
        _ key: [UInt8],
        _ target: UnsafeMutablePointer<UInt8>,
        _ byteCount: Int
    ) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= bytes.byteCount,
            "mac over bytes out of span"
        )
        unsafe bytes.withUnsafeBytes { all in
            let input = unsafe UnsafeRawBufferPointer(rebasing: all[range])
            _ = unsafe crypto_generichash_blake2b(
                target,
                byteCount,
                input.baseAddress?.assumingMemoryBound(to: UInt8.self),
                UInt64(input.count),
                key,
                key.count
            )
        }
    }
}
