/// The little of TOML the lab writes: sections of keys with plain values.
enum TOMLText {
    /// A basic string, escaped.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case _ where scalar.value < 32 || scalar.value == 127:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// A list of strings.
    static func list(_ texts: [String]) -> String {
        "[" + texts.map(quoted).joined(separator: ", ") + "]"
    }

    /// A section: its header, then `key = value` lines; values are TOML already.
    static func section(_ header: String, _ values: [(String, String)]) -> String {
        "\(header)\n" + values.map { "\($0) = \($1)\n" }.joined()
    }
}
