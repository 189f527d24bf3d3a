/// Whether what a person answered could stand in a relay's file, told before it is written.
public enum AnswerCheck: Sendable {
    /// The relay's name.
    case nickname
    /// How its operator is reached.
    case contact
    /// Addresses to receive on, with spaces between.
    case addresses
    /// A rate.
    case rate
    /// A number of bytes.
    case quota
    /// What an exit lets out, by name.
    case preset
    /// Yes or no.
    case decision

    /// What is wrong with `text`; `nil` where nothing is.
    public func complaint(about text: String) -> String? {
        switch self {
        case .nickname: Self.complaint(text, .nickname)
        case .contact: Self.complaint(text, .text(limit: 128))
        case .rate: Self.complaint(text, .bitRate)
        case .quota: Self.complaint(text, .byteCount)
        case .preset: Self.complaint(text, .choice(RelayConfiguration.PortPreset.self))
        case .addresses:
            text.split(separator: " ").lazy
                .compactMap { Self.complaint(String($0), .socketAddress) }.first
        case .decision:
            ["y", "yes", "n", "no"].contains(text.lowercased()) ? nil : "answer yes or no"
        }
    }

    private static func complaint<Value>(_ text: String, _ kind: ValueKind<Value>) -> String? {
        kind.read(text) == nil ? "\"\(text)\" is not \(kind.expectation)" : nil
    }
}
