import Base
import CSodium
import Crypto
import FoundationEssentials

/// AES-256-GCM by swift-crypto, for machines neither C library serves; allocates on each call.
enum SwiftCryptoGCM {
    /// Encrypts `text` of `bytes` in place and writes the tag at `tagOffset`.
    static func seal(
        _ bytes: UnsafeMutableRawBufferPointer,
        key: UnsafeRawBufferPointer,
        text: Range<Int>,
        tagOffset: Int,
        noncePrefix: UInt32,
        nonce: UInt64,
        authenticating: Range<Int>
    ) {
        do {
            let box = unsafe try AES.GCM.seal(
                UnsafeRawBufferPointer(rebasing: bytes[text]),
                using: SymmetricKey(data: key),
                nonce: nonceValue(noncePrefix, nonce),
                authenticating: UnsafeRawBufferPointer(rebasing: bytes[authenticating])
            )
            _ = unsafe box.ciphertext.copyBytes(
                to: UnsafeMutableRawBufferPointer(rebasing: bytes[text])
            )
            _ = unsafe box.tag.copyBytes(
                to: UnsafeMutableRawBufferPointer(
                    rebasing: bytes[tagOffset..<tagOffset + AEADKey.tagByteCount]
                )
            )
        } catch {
            // Only lengths can be wrong, and those are fixed here.
            preconditionFailure("AES-256-GCM refused to seal: \(error)")
        }
    }

    /// Decrypts `text` of `bytes` in place; `false`, and zeros in `text`, if the tag does not hold.
    static func open(
        _ bytes: UnsafeMutableRawBufferPointer,
        key: UnsafeRawBufferPointer,
        text: Range<Int>,
        tagOffset: Int,
        noncePrefix: UInt32,
        nonce: UInt64,
        authenticating: Range<Int>
    ) -> Bool {
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[text])
        do {
            let tag = unsafe bytes[tagOffset..<tagOffset + AEADKey.tagByteCount]
            let box = unsafe try AES.GCM.SealedBox(
                nonce: nonceValue(noncePrefix, nonce),
                ciphertext: UnsafeRawBufferPointer(target),
                tag: UnsafeRawBufferPointer(rebasing: tag)
            )
            let plain = unsafe try AES.GCM.open(
                box,
                using: SymmetricKey(data: key),
                authenticating: UnsafeRawBufferPointer(rebasing: bytes[authenticating])
            )
            _ = unsafe plain.copyBytes(to: target)
            return true
        } catch {
            for index in target.indices { unsafe target[index] = 0 }
            return false
        }
    }

    private static func nonceValue(_ prefix: UInt32, _ number: UInt64) throws -> AES.GCM.Nonce {
        var bytes = [UInt8](repeating: 0, count: 12)
        var elements = bytes.mutableSpan
        var span = unsafe elements.mutableBytes
        span.storeBigEndian(prefix, at: 0)
        span.storeBigEndian(number, at: 4)
        return try AES.GCM.Nonce(data: bytes)
    }
}
