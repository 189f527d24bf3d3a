public import Base
import Crypto

/// SHA-256, the hash of handshakes and documents.
public enum SHA256 {
    /// The digest of `parts` one after the other.
    public static func digest(_ parts: [UInt8]...) -> Bytes32 {
        var hasher = Crypto.SHA256()
        for part in parts {
            hasher.update(data: part)
        }
        return unsafe hasher.finalize().withUnsafeBytes { unsafe Bytes32($0.bytes) }
    }
}
