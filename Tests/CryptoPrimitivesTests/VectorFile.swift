import Base
import CryptoPrimitives
import Foundation
import Testing

/// A file of published answers beside these tests.
struct VectorFile<Vector: Decodable & Sendable>: Decodable, Sendable {
    let source: String
    let vectors: [Vector]

    init(_ name: String) throws {
        self = try Self.read(name)
    }

    private static func read(_ name: String) throws -> Self {
        try JSONDecoder().decode(Self.self, from: vectorData(name))
    }
}

func vectorData(_ name: String) throws -> Data {
    let url = try #require(
        Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Vectors")
    )
    return try Data(contentsOf: url)
}

/// Bytes written in hexadecimal digits.
struct Hex: Decodable, Sendable {
    let bytes: [UInt8]

    init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        bytes = try #require([UInt8](hex: text))
    }

    var secret: Secret { Secret(copying: bytes) }

    func bytes32() throws -> Bytes32 { try #require(Bytes32(bytes)) }
}

extension Secret {
    /// The bytes, for comparing with published ones.
    var exposed: [UInt8] { withBytes { $0.copyBytes(0..<$0.byteCount) } }
}

extension RandomGenerator {
    /// The generator of a test's seed.
    init(testSeed: UInt64) {
        var seed = [UInt8](repeating: 0, count: 32)
        for index in 0..<8 {
            seed[index] = UInt8(truncatingIfNeeded: testSeed >> UInt64(8 * index))
        }
        self.init(seed: Secret(copying: seed))
    }

    mutating func next(in range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next(below: UInt64(range.count)))
    }
}
