import Crypto
import CryptoExtras
import FoundationEssentials

/// Blind signatures: RSABSSA-SHA384-PSS-Deterministic of RFC 9474 with keys of 2,048 bits.
///
/// The signer never sees what it signs, and cannot tell a finished signature from any other it
/// made. Spec: protocol §A.3.
public enum BlindRSA {
    /// Bytes of a signature, a blinded message and a modulus.
    public static let signatureByteCount = 256
    /// Bytes of a public key's DER, at most; 294 with the usual exponent.
    public static let maximumKeyByteCount = 320

    typealias Parameters = _RSA.BlindSigning.Parameters<SHA384>

    /// The key that verifies and blinds.
    public struct PublicKey: Sendable, Hashable {
        /// The key's SubjectPublicKeyInfo.
        public let der: [UInt8]
        private let key: _RSA.BlindSigning.PublicKey<SHA384>

        /// Reads a SubjectPublicKeyInfo.
        ///
        /// - Throws: ``CryptoError/invalidPublicKey`` unless it is an RSA key of 2,048 bits.
        public init(der: [UInt8]) throws(CryptoError) {
            guard der.count <= maximumKeyByteCount else { throw .invalidPublicKey }
            do {
                key = try _RSA.BlindSigning.PublicKey(
                    derRepresentation: der,
                    parameters: .RSABSSA_SHA384_PSS_Deterministic
                )
            } catch { throw .invalidPublicKey }
            guard key.keySizeInBits == 8 * signatureByteCount else { throw .invalidPublicKey }
            self.der = der
        }

        /// Hides `message`: the signer gets the blinded bytes, the opener stays here.
        ///
        /// Draws from the system's randomness: the library offers no other way.
        /// - Throws: ``CryptoError/invalidPublicKey`` where the key cannot blind.
        public func blind(_ message: [UInt8]) throws(CryptoError) -> (
            blinded: [UInt8], opener: Opener
        ) {
            do {
                let result = try key.blind(key.prepare(message))
                return (Array(result.blindedMessage), Opener(result.inverse))
            } catch { throw .invalidPublicKey }
        }

        /// The signature over `message` from a blind one.
        ///
        /// - Throws: ``CryptoError/authenticationFailure`` unless the outcome is a signature by this
        ///   very key: a signer that used another one is found out here.
        public func finalize(
            _ blindSignature: [UInt8],
            of message: [UInt8],
            with opener: Opener
        ) throws(CryptoError) -> [UInt8] {
            guard blindSignature.count == signatureByteCount, let inverse = opener.inverse else {
                throw .authenticationFailure
            }
            let prepared = key.prepare(message)
            do {
                let signature = try key.finalize(
                    _RSA.BlindSigning.BlindSignature(rawRepresentation: blindSignature),
                    for: prepared,
                    blindingInverse: inverse
                )
                let bytes = Array(signature.rawRepresentation)
                guard isValid(bytes, of: message) else { throw CryptoError.authenticationFailure }
                return bytes
            } catch { throw .authenticationFailure }
        }

        /// Whether `signature` is of `message` by this key; about 14 microseconds.
        public func isValid(_ signature: [UInt8], of message: [UInt8]) -> Bool {
            guard signature.count == signatureByteCount else { return false }
            return key.isValidSignature(
                _RSA.Signing.RSASignature(rawRepresentation: signature),
                for: key.prepare(message)
            )
        }

        /// Whether both are one key.
        public static func == (lhs: Self, rhs: Self) -> Bool {
            lhs.der == rhs.der
        }

        /// Feeds the key to `hasher`.
        public func hash(into hasher: inout Hasher) {
            hasher.combine(der)
        }
    }

    /// The key that signs.
    public struct PrivateKey: Sendable {
        private let key: _RSA.BlindSigning.PrivateKey<SHA384>

        /// Draws a key; a tenth of a second and more.
        ///
        /// - Throws: ``CryptoError/invalidPrivateKey`` where the system gives no randomness.
        public init() throws(CryptoError) {
            do {
                key = try _RSA.BlindSigning.PrivateKey(
                    keySize: .bits2048,
                    parameters: .RSABSSA_SHA384_PSS_Deterministic
                )
            } catch { throw .invalidPrivateKey }
        }

        /// Reads what ``der`` wrote.
        ///
        /// - Throws: ``CryptoError/invalidPrivateKey`` for anything else.
        public init(der: [UInt8]) throws(CryptoError) {
            do {
                key = try _RSA.BlindSigning.PrivateKey(
                    derRepresentation: der,
                    parameters: .RSABSSA_SHA384_PSS_Deterministic
                )
            } catch { throw .invalidPrivateKey }
            guard key.keySizeInBits == 8 * signatureByteCount else { throw .invalidPrivateKey }
        }

        /// The key as bytes; whoever asks keeps them secret.
        public var der: [UInt8] {
            Array(key.derRepresentation)
        }

        /// What verifies its signatures.
        ///
        /// - Throws: ``CryptoError/invalidPublicKey`` never, for a key that was read or drawn here.
        public func publicKey() throws(CryptoError) -> PublicKey {
            try PublicKey(der: Array(key.publicKey.derRepresentation))
        }

        /// Signs what a client blinded, the same each time; about half a millisecond.
        ///
        /// - Throws: ``CryptoError/authenticationFailure`` for bytes that are no blinded message.
        public func blindSign(_ blinded: [UInt8]) throws(CryptoError) -> [UInt8] {
            guard blinded.count == signatureByteCount else { throw .authenticationFailure }
            do {
                return Array(try key.blindSignature(for: blinded).rawRepresentation)
            } catch { throw .authenticationFailure }
        }
    }

    /// Verifies under a key given by its numbers, of any length: for known answers.
    ///
    /// - Throws: ``CryptoError/invalidPublicKey``.
    public static func verifier(
        modulus: [UInt8],
        exponent: [UInt8]
    ) throws(CryptoError) -> (_ signature: [UInt8], _ message: [UInt8]) -> Bool {
        do {
            let key = try _RSA.BlindSigning.PublicKey(
                n: modulus,
                e: exponent,
                parameters: .RSABSSA_SHA384_PSS_Deterministic
            )
            return { signature, message in
                key.isValidSignature(
                    _RSA.Signing.RSASignature(rawRepresentation: signature),
                    for: key.prepare(message)
                )
            }
        } catch { throw .invalidPublicKey }
    }

    /// What takes the blinding off again; secret, and lost money if it is lost.
    public struct Opener: Sendable {
        /// Its bytes, to store.
        public let bytes: [UInt8]

        /// Takes stored bytes over.
        public init(bytes: [UInt8]) {
            self.bytes = bytes
        }

        init(_ inverse: _RSA.BlindSigning.BlindingInverse) {
            bytes = Self.stored(in: inverse).map { Array($0) } ?? []
        }

        /// The library's inverse; `nil` where these bytes are none.
        ///
        /// The library keeps it in one `Data` that it neither shows nor takes. A struct of one
        /// field lies in memory as that field does; a look by reflection proves it each time.
        var inverse: _RSA.BlindSigning.BlindingInverse? {
            typealias Inverse = _RSA.BlindSigning.BlindingInverse
            guard bytes.count == signatureByteCount,
                MemoryLayout<Inverse>.size == MemoryLayout<Data>.size,
                MemoryLayout<Inverse>.alignment == MemoryLayout<Data>.alignment
            else { return nil }
            let data = Data(bytes)
            let inverse = unsafe unsafeBitCast(data, to: Inverse.self)
            return Self.stored(in: inverse) == data ? inverse : nil
        }

        private static func stored(in inverse: _RSA.BlindSigning.BlindingInverse) -> Data? {
            let fields = Mirror(reflecting: inverse).children
            guard fields.count == 1 else { return nil }
            return fields.first?.value as? Data
        }
    }
}
