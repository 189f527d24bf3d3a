/// The question by which an exit sees that its resolver lives: for a name that only that one knows, so
/// that its answer says nothing of anybody else's servers.
///
/// Source: RFC 1035 section 4; `.invalid` is RFC 2606's.
public enum ResolverQuestion {
    /// The name asked for.
    static let name = "alive.umbel.invalid"
    private static let headerByteCount = 12

    /// The datagram that asks for the name's IPv4 address, numbered `number`.
    public static func bytes(_ number: UInt16) -> [UInt8] {
        let labels = name.split(separator: ".").flatMap { label in
            [UInt8(truncatingIfNeeded: label.utf8.count)] + Array(label.utf8)
        }
        let isRecursive: UInt8 = 1
        return [UInt8(number >> 8), UInt8(truncatingIfNeeded: number), isRecursive, 0]
            + [0, 1, 0, 0, 0, 0, 0, 0]  // One question.
            + labels + [0]
            + [0, 1, 0, 1]  // A, IN.
    }

    /// Whether `answer` answers the question `number` with an address.
    public static func isAnswered(by answer: [UInt8], number: UInt16) -> Bool {
        guard answer.count > headerByteCount, answer[0] == UInt8(number >> 8),
            answer[1] == UInt8(truncatingIfNeeded: number)
        else { return false }
        let isResponse = answer[2] & 0x80 != 0
        let code = answer[3] & 0x0f
        return isResponse && code == 0 && (answer[6], answer[7]) != (0, 0)
    }
}
