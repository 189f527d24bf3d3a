public import Base
public import CryptoPrimitives
public import Foundation

/// Reading files of known answers that lie in a test target's `Vectors` folder.
public enum Vectors {
    /// Why a file could not be read.
    public enum Failure: Error {
        /// The bundle has no such file.
        case missing(String)
        /// Something that should be hexadecimal digits is not.
        case notHexadecimal(String)
    }

    /// Decodes `Vectors/<name>.json` of `bundle`.
    public static func read<T: Decodable>(
        _ type: T.Type = T.self,
        named name: String,
        from bundle: Bundle
    ) throws -> T {
        let found = bundle.url(forResource: name, withExtension: "json", subdirectory: "Vectors")
        guard let url = found else { throw Failure.missing(name) }
        return try JSONDecoder().decode(type, from: Data(contentsOf: url))
    }
}

/// Bytes written in hexadecimal digits.
public struct Hex: Decodable, Sendable {
    /// The bytes.
    public let bytes: [UInt8]

    /// Reads a string of digits.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let bytes = [UInt8](hex: text) else { throw Vectors.Failure.notHexadecimal(text) }
        self.bytes = bytes
    }

    /// The bytes as a secret.
    public var secret: Secret {
        Secret(copying: bytes)
    }

    /// The bytes as a value of 32.
    ///
    /// - Throws: ``Vectors/Failure/notHexadecimal(_:)`` for another count.
    public func bytes32() throws -> Bytes32 {
        guard let value = Bytes32(bytes) else { throw Vectors.Failure.notHexadecimal(bytes.hex) }
        return value
    }
}
