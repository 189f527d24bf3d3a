import CSodium

#if arch(x86_64)
    import CIPSecMB
#endif

/// A key of the packet path: AES-256-GCM with the key schedule of one provider, computed once.
///
/// Owner of one block of ``SecretMemory`` on a 64-byte boundary, wiped when the key ends. Calls may
/// come from several threads at once; numbers must never repeat under one key, which is the caller's
/// duty. Spec: protocol §C.2, §C.3.
public struct AEADKey: ~Copyable, Sendable {
    private let block: SecretBlock
    private let provider: AEADProvider

    /// Bytes of an authentication tag.
    public static let tagByteCount = 16
    /// Bytes of a key.
    public static let keyByteCount = 32

    /// Bytes of memory the expanded key takes.
    var storageByteCount: Int {
        block.byteCount
    }

    /// Expands `key` for `provider`.
    ///
    /// - Precondition: `key` has 32 bytes and `provider` is available.
    public init(
        _ key: Secret,
        provider: AEADProvider = .selected,
        in memory: SecretMemory = .shared
    ) {
        precondition(provider.isAvailable, "AEAD provider not available here")
        self.init(unprobed: key, provider: provider, in: memory)
    }

    /// Expands `key` for a provider that may still be under probe.
    init(unprobed key: Secret, provider: AEADProvider, in memory: SecretMemory = .shared) {
        precondition(key.byteCount == Self.keyByteCount, "AES-256 takes 32 bytes of key")
        self.provider = provider
        switch provider {
        case .ipsecMB:
            #if arch(x86_64)
                var block = SecretBlock(byteCount: umbel_ipsecmb_key_size(), in: memory)
                guard var calls = AEADProvider.ipsecMBCalls else {
                    preconditionFailure("libipsec-mb cannot serve this CPU")
                }
                unsafe key.withUnsafeStart {
                    unsafe umbel_ipsecmb_expand(block.mutableStart, &calls, $0)
                }
                self.block = block
            #else
                preconditionFailure("libipsec-mb serves x86-64 only")
            #endif
        case .sodium:
            Sodium.prepare()
            var block = SecretBlock(byteCount: umbel_sodium_gcm_key_size(), in: memory)
            unsafe key.withUnsafeStart {
                unsafe umbel_sodium_gcm_expand(block.mutableStart, $0)
            }
            self.block = block
        case .swiftCrypto:
            var block = SecretBlock(byteCount: Self.keyByteCount, in: memory)
            unsafe key.withUnsafeStart {
                unsafe block.mutableStart.copyMemory(from: $0, byteCount: Self.keyByteCount)
            }
            self.block = block
        }
    }

    /// Encrypts `text` in place and writes the tag over it and the associated data.
    ///
    /// All ranges are of `bytes`: the tag takes 16 bytes from `tagOffset`, `authenticating` is the
    /// associated data and may be empty. The nonce is 4 zero bytes and `nonce` big-endian.
    ///
    /// - Precondition: text, tag and associated data lie within `bytes` and none overlaps the tag
    ///   or the text.
    public func seal(
        _ bytes: inout MutableRawSpan,
        text: Range<Int>,
        tagOffset: Int,
        nonce: UInt64,
        authenticating: Range<Int>
    ) {
        seal(
            &bytes,
            text: text,
            tagOffset: tagOffset,
            noncePrefix: 0,
            nonce: nonce,
            authenticating: authenticating
        )
    }

    /// Encrypts as the public call does, with any nonce: `noncePrefix` and `nonce`, big-endian.
    ///
    /// The protocol's prefix is 0; published test vectors have others.
    @inline(__always)
    func seal(
        _ bytes: inout MutableRawSpan,
        text: Range<Int>,
        tagOffset: Int,
        noncePrefix: UInt32,
        nonce: UInt64,
        authenticating: Range<Int>
    ) {
        Self.check(bytes.byteCount, text, tagOffset, authenticating)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let raw = buffer.baseAddress else { return }
            let base = unsafe raw.assumingMemoryBound(to: UInt8.self)
            switch provider {
            case .ipsecMB:
                #if arch(x86_64)
                    unsafe umbel_ipsecmb_seal(
                        block.start,
                        base + text.lowerBound,
                        text.count,
                        base + tagOffset,
                        noncePrefix,
                        nonce,
                        base + authenticating.lowerBound,
                        authenticating.count
                    )
                #else
                    break
                #endif
            case .sodium:
                unsafe umbel_sodium_gcm_seal(
                    block.start,
                    base + text.lowerBound,
                    text.count,
                    base + tagOffset,
                    noncePrefix,
                    nonce,
                    base + authenticating.lowerBound,
                    authenticating.count
                )
            case .swiftCrypto:
                unsafe SwiftCryptoGCM.seal(
                    buffer,
                    key: UnsafeRawBufferPointer(start: block.start, count: Self.keyByteCount),
                    text: text,
                    tagOffset: tagOffset,
                    noncePrefix: noncePrefix,
                    nonce: nonce,
                    authenticating: authenticating
                )
            }
        }
    }

    /// Decrypts `text` in place if its tag holds; the tag is compared in constant time.
    ///
    /// Ranges, nonce and preconditions as in ``seal(_:text:tagOffset:nonce:authenticating:)``.
    ///
    /// - Returns: whether the tag holds. If not, the bytes of `text` are zeros with every provider:
    ///   neither the ciphertext nor anything decrypted is left.
    public func open(
        _ bytes: inout MutableRawSpan,
        text: Range<Int>,
        tagOffset: Int,
        nonce: UInt64,
        authenticating: Range<Int>
    ) -> Bool {
        open(
            &bytes,
            text: text,
            tagOffset: tagOffset,
            noncePrefix: 0,
            nonce: nonce,
            authenticating: authenticating
        )
    }

    /// Decrypts as the public call does, with any nonce: `noncePrefix` and `nonce`, big-endian.
    @inline(__always)
    func open(
        _ bytes: inout MutableRawSpan,
        text: Range<Int>,
        tagOffset: Int,
        noncePrefix: UInt32,
        nonce: UInt64,
        authenticating: Range<Int>
    ) -> Bool {
        Self.check(bytes.byteCount, text, tagOffset, authenticating)
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let raw = buffer.baseAddress else { return false }
            let base = unsafe raw.assumingMemoryBound(to: UInt8.self)
            switch provider {
            case .ipsecMB:
                #if arch(x86_64)
                    return unsafe umbel_ipsecmb_open(
                        block.start,
                        base + text.lowerBound,
                        text.count,
                        base + tagOffset,
                        noncePrefix,
                        nonce,
                        base + authenticating.lowerBound,
                        authenticating.count
                    ) == 1
                #else
                    return false
                #endif
            case .sodium:
                return unsafe umbel_sodium_gcm_open(
                    block.start,
                    base + text.lowerBound,
                    text.count,
                    base + tagOffset,
                    noncePrefix,
                    nonce,
                    base + authenticating.lowerBound,
                    authenticating.count
                ) == 1
            case .swiftCrypto:
                return unsafe SwiftCryptoGCM.open(
                    buffer,
                    key: UnsafeRawBufferPointer(start: block.start, count: Self.keyByteCount),
                    text: text,
                    tagOffset: tagOffset,
                    noncePrefix: noncePrefix,
                    nonce: nonce,
                    authenticating: authenticating
                )
            }
        }
    }

    /// Encrypts an array laid out as associated data, text, tag; nonce 0.
    func seal(_ bytes: inout [UInt8], textByteCount: Int) {
        let tagOffset = bytes.count - Self.tagByteCount
        let textOffset = tagOffset - textByteCount
        var elements = bytes.mutableSpan
        var span = unsafe elements.mutableBytes
        seal(
            &span,
            text: textOffset..<tagOffset,
            tagOffset: tagOffset,
            nonce: 0,
            authenticating: 0..<textOffset
        )
    }

    /// Decrypts an array laid out as associated data, text, tag; nonce 0.
    func open(_ bytes: inout [UInt8], textByteCount: Int) -> Bool {
        let tagOffset = bytes.count - Self.tagByteCount
        let textOffset = tagOffset - textByteCount
        var elements = bytes.mutableSpan
        var span = unsafe elements.mutableBytes
        return open(
            &span,
            text: textOffset..<tagOffset,
            tagOffset: tagOffset,
            nonce: 0,
            authenticating: 0..<textOffset
        )
    }

    private static func check(
        _ byteCount: Int,
        _ text: Range<Int>,
        _ tagOffset: Int,
        _ authenticating: Range<Int>
    ) {
        // As cells have it: what is only authenticated, the text, the tag.
        let isInOrder =
            authenticating.lowerBound >= 0 && authenticating.upperBound <= text.lowerBound
            && text.upperBound <= tagOffset && tagOffset <= byteCount - tagByteCount
        guard !isInOrder else { return }
        precondition(
            text.lowerBound >= 0 && text.upperBound <= byteCount
                && tagOffset >= 0 && tagOffset <= byteCount - tagByteCount
                && authenticating.lowerBound >= 0 && authenticating.upperBound <= byteCount,
            "sealing out of span"
        )
        let tagEnd = tagOffset + tagByteCount
        precondition(
            (text.upperBound <= tagOffset || text.lowerBound >= tagEnd)
                && (authenticating.upperBound <= tagOffset || authenticating.lowerBound >= tagEnd)
                && (authenticating.upperBound <= text.lowerBound
                    || authenticating.lowerBound >= text.upperBound),
            "sealed parts overlap"
        )
    }
}
