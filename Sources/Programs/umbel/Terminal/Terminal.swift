import FoundationEssentials
import Glibc

/// What the other end of a descriptor can show.
struct Terminal {
    /// Whether it is a terminal at all.
    let isInteractive: Bool
    /// Columns it has; `nil` where lines may be of any length.
    let width: Int?
    /// Lines it has; `nil` where there may be any number.
    let height: Int?
    /// Whether it may be sent escape sequences.
    let hasColor: Bool
    /// Whether the cursor can be moved about on it.
    let takesEscapes: Bool

    /// The terminal, or whatever it is, behind `descriptor`.
    init(_ descriptor: Int32, environment: [String: String] = ProcessInfo.processInfo.environment) {
        isInteractive = isatty(descriptor) == 1
        var size = winsize()
        let isKnown = ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        let columns = environment["COLUMNS"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
        width = columns ?? (isInteractive ? (isKnown ? Int(size.ws_col) : 80) : nil)
        height = isInteractive && size.ws_row > 0 ? Int(size.ws_row) : nil
        let isPlain = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
        takesEscapes = isInteractive && environment["TERM"] != "dumb"
        hasColor = takesEscapes && !isPlain
    }

    /// Stdout.
    static var output: Self { Self(STDOUT_FILENO) }
    /// Stderr.
    static var errors: Self { Self(STDERR_FILENO) }

    /// The foreground colours in use, by their number in the SGR sequence.
    enum Color: Int {
        case red = 31
        case green = 32
        case yellow = 33
    }

    /// `text` in `color` where there are colours.
    func colored(_ text: String, _ color: Color) -> String {
        hasColor ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
    }
}
