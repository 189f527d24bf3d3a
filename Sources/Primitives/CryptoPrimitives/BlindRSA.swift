import Crypto
import CryptoExtras
import FoundationEssentials
import Synchronization

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
        /// - Throws: ``CryptoError/invalidPublicKey`` where the key cannot blind, or the opener could
        ///   not be stored.
        public func blind(_ message: [UInt8]) throws(CryptoError) -> (
            blinded: [UInt8], opener: Opener
        ) {
            do {
                let result = try key.blind(key.prepare(message))
                guard let opener = Opener(result.inverse) else {
                    throw CryptoError.invalidPublicKey
                }
                return (Array(result.blindedMessage), opener)
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
            guard blindSignature.count == signatureByteCount else { throw .authenticationFailure }
            let prepared = key.prepare(message)
            do {
                // After a start the opener may be read before this process has made one.
                if !Opener.isLayoutProven.load(ordering: .relaxed) {
                    _ = Opener(try key.blind(prepared).inverse)
                }
                guard let inverse = opener.inverse else { throw CryptoError.authenticationFailure }
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
    ///
    /// The library keeps it in one `Data`, which it neither shows nor takes. A struct of one stored
    /// property lies in memory as that property does. That this is so is proven by values the library
    /// made itself before any is stored or read: where it is not, nothing is blinded, and no money
    /// hangs on it.
    public struct Opener: Sendable {
        typealias Inverse = _RSA.BlindSigning.BlindingInverse

        /// Its bytes, to store.
        public let bytes: [UInt8]

        /// Takes stored bytes over.
        public init(bytes: [UInt8]) {
            self.bytes = bytes
        }

        /// Reads what the library made; `nil` where it does not keep it as it is read back.
        init?(_ inverse: Inverse) {
            guard let data = Self.proven(inverse), data.count == signatureByteCount else {
                return nil
            }
            Self.isLayoutProven.store(true, ordering: .relaxed)
            bytes = Array(data)
        }

        /// Whether a value the library made in this process lies in memory as its field does.
        static let isLayoutProven = Atomic(false)

        /// The library's inverse; `nil` where these bytes are none, or the layout is not proven.
        var inverse: Inverse? {
            guard bytes.count == signatureByteCount, Self.isLayoutProven.load(ordering: .relaxed)
            else { return nil }
            let data = Data(bytes)
            let inverse = unsafe unsafeBitCast(data, to: Inverse.self)
            return Self.field(of: inverse) == data ? inverse : nil
        }

        /// The one field of `inverse`, if the bytes of `inverse` are those of the field and no others.
        private static func proven(_ inverse: Inverse) -> Data? {
            guard MemoryLayout<Inverse>.size == MemoryLayout<Data>.size,
                MemoryLayout<Inverse>.stride == MemoryLayout<Data>.stride,
                MemoryLayout<Inverse>.alignment == MemoryLayout<Data>.alignment,
                let data = field(of: inverse)
            else { return nil }
            return unsafe withUnsafeBytes(of: inverse) { whole in
                unsafe withUnsafeBytes(of: data) { part in
                    unsafe whole.elementsEqual(part) ? data : nil
                }
            }
        }

        private static func field(of inverse: Inverse) -> Data? {
            let mirror = Mirror(reflecting: inverse)
            guard mirror.displayStyle == .struct, mirror.children.count == 1 else { return nil }
            return mirror.children.first?.value as? Data
        }
    }
}
