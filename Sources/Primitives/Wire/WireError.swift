/// Why bytes are not the layout they were taken for: counted by case, never answered.
public enum WireError: Error, Hashable, Sendable {
    /// Fewer bytes than the layout needs.
    case truncated(neededByteCount: Int, foundByteCount: Int)
    /// More bytes than the layout has.
    case trailing(byteCount: Int)
    /// A version, type or kind this implementation does not know.
    case unknown(field: StaticName, value: UInt64)
    /// A field whose value the layout forbids.
    case invalid(field: StaticName)
    /// A count or length above the bound the layout sets.
    case tooLarge(field: StaticName, value: UInt64, limit: UInt64)
}

extension WireError: CustomStringConvertible {
    /// What is wrong, as a part of a sentence.
    public var description: String {
        switch self {
        case .truncated(let needed, let found): "\(needed) bytes are needed and \(found) are there"
        case .trailing(let count): "there are \(count) bytes too many"
        case .unknown(let field, let value): "the \(field) \(value) is not known"
        case .invalid(let field): "the \(field) is not allowed"
        case .tooLarge(let field, let value, let limit):
            "the \(field) is \(value), and may be \(limit) at most"
        }
    }
}

/// The name of a field in the protocol text, fixed at compile time so that errors stay cheap.
public struct StaticName: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The name itself.
    public let description: String

    /// Takes the literal over.
    public init(stringLiteral value: String) {
        description = value
    }
}
