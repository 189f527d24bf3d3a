import ControlAPI
import Glibc

/// How far something has come: one line that is rewritten on a terminal, plain lines elsewhere.
struct ProgressLine {
    /// Seconds without progress after which the line says so.
    static let stuckAfter: UInt64 = 5

    private let terminal: Terminal
    private var shown = ""

    init(_ terminal: Terminal = .errors) {
        self.terminal = terminal
    }

    /// Shows how far `report` has come, which was heard this long ago.
    ///
    /// A terminal sees time go by; a log is told of each step once, and once of each reason why
    /// there is none.
    mutating func show(_ report: StatusReport, after wait: Duration) {
        show(Self.text(report, after: wait, showsTime: terminal.isInteractive))
    }

    /// The line for `report`, heard `wait` ago.
    ///
    /// - Parameter showsTime: whether it says how long the attempt, or the standstill, has lasted.
    static func text(_ report: StatusReport, after wait: Duration, showsTime: Bool) -> String {
        var text = report.state.rawValue
        guard let progress = report.progress else { return text }
        text += " \(progress.percent)% - \(progress.detail)"
        let waited = UInt64(max(0, wait / .milliseconds(1)))
        let elapsed = ((progress.elapsed ?? 0) + waited) / 1_000
        let unchanged = ((progress.unchanged ?? 0) + waited) / 1_000
        guard unchanged >= stuckAfter else {
            return showsTime && elapsed > 0 ? text + " (\(elapsed) s)" : text
        }
        let time = showsTime ? " for \(unchanged) s" : ""
        return text + " (stuck\(time)\(report.reason.map { ": \($0)" } ?? ""))"
    }

    /// Shows `text` unless it stands there already.
    mutating func show(_ text: String) {
        guard text != shown else { return }
        guard terminal.isInteractive else {
            shown = text
            Output.note(text)
            return
        }
        // Spaces, not an escape sequence, wipe what is longer: they work everywhere.
        let fitting = String(text.prefix(max(1, (terminal.width ?? 80) - 1)))
        let rest = String(repeating: " ", count: max(0, shown.count - fitting.count))
        Output.write("\r\(fitting)\(rest)", to: STDERR_FILENO)
        shown = fitting
    }

    /// Leaves the line to whatever comes next.
    mutating func finish() {
        if terminal.isInteractive, !shown.isEmpty { Output.write("\n", to: STDERR_FILENO) }
        shown = ""
    }
}
