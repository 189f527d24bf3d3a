import Glibc

/// A screen that is drawn again and again, over itself.
struct LiveScreen {
    private let terminal: Terminal
    private var isFirst = true

    init(_ terminal: Terminal) {
        self.terminal = terminal
    }

    /// Shows `text` in place of what stood there.
    ///
    /// A terminal that takes no escape sequences gets one screen under the other.
    mutating func show(_ text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard terminal.takesEscapes else {
            return Output.print((isFirst ? "" : "\n") + text)
        }
        let home = isFirst ? "\u{1B}[2J\u{1B}[H" : "\u{1B}[H"
        isFirst = false
        // Each line wipes its own rest, and the last one what is below: nothing flickers.
        let rows = lines.map { "\($0)\u{1B}[K" }.joined(separator: "\n")
        Output.write("\(home)\(rows)\n\u{1B}[J", to: STDOUT_FILENO)
    }
}
