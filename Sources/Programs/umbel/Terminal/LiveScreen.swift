import Glibc

/// A screen that is drawn again and again, over itself.
struct LiveScreen {
    private let terminal: Terminal
    private var isFirst = true

    init(_ terminal: Terminal) {
        self.terminal = terminal
    }

    /// Shows `text` in place of what stood there, as far as the window's lines reach.
    ///
    /// A terminal that takes no escape sequences gets one screen under the other.
    mutating func show(_ text: String) {
        guard terminal.takesEscapes else {
            return Output.print((isFirst ? "" : "\n") + text)
        }
        let home = isFirst ? "\u{1B}[2J\u{1B}[H" : "\u{1B}[H"
        isFirst = false
        // Each line wipes its own rest, and the last one what is below: nothing flickers.
        let rows = Self.lines(of: text, height: terminal.height).map { "\($0)\u{1B}[K" }
        Output.write("\(home)\(rows.joined(separator: "\n"))\n\u{1B}[J", to: STDOUT_FILENO)
    }

    /// The lines of `text`, with a word on those that a window of `height` lines has no room for.
    ///
    /// The last line of a window is the cursor's: a screen that fills it scrolls away.
    static func lines(of text: String, height: Int?) -> [String] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard let height, height > 2, lines.count > height - 1 else { return lines }
        let shown = height - 2
        return lines.prefix(shown) + ["... \(lines.count - shown) lines more"]
    }
}
