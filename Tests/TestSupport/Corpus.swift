import Base
import Foundation

/// The committed inputs of each fuzz target: `Corpus/<target>.hex`, one input a line.
///
/// `#` begins a remark: what the input is, or which fault it once found.
public enum Corpus {
    /// The inputs of `target`.
    ///
    /// - Throws: ``Vectors/Failure`` where the file is missing or holds something else.
    public static func inputs(of target: FuzzTarget) throws -> [[UInt8]] {
        let url = Bundle.module.url(
            forResource: target.name,
            withExtension: "hex",
            subdirectory: "Corpus"
        )
        guard let url else { throw Vectors.Failure.missing(target.name) }
        return try String(contentsOf: url, encoding: .utf8).split(separator: "\n")
            .map { $0.prefix { $0 != "#" }.filter { $0 != " " } }
            .filter { !$0.isEmpty }
            .map { line in
                guard let bytes = [UInt8](hex: line) else {
                    throw Vectors.Failure.notHexadecimal(target.name)
                }
                return bytes
            }
    }
}
