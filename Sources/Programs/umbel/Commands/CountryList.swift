import ArgumentParser

/// Countries as people write them: `DE`, `DE,NL`, or `auto` for any.
struct CountryList: ExpressibleByArgument, Hashable {
    /// Two capitals each; empty for any.
    let codes: [String]
    /// As people write them.
    var text: String { codes.isEmpty ? "auto" : codes.joined(separator: ",") }

    /// `nil` unless every part is two letters.
    init?(argument: String) {
        guard argument != "auto" else {
            codes = []
            return
        }
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        guard
            parts.allSatisfy({ part in
                part.utf8.count == 2
                    && part.utf8.allSatisfy { (0x61...0x7a).contains($0 | 0x20) }
            })
        else { return nil }
        codes = parts.map { $0.uppercased() }
    }
}
