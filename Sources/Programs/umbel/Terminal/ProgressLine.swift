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

    /// Shows the progress of `report`, which has not changed for `seconds`.
    mutating func show(_ report: StatusReport, unchangedFor seconds: UInt64) {
        show(Self.text(report, unchangedFor: seconds))
    }

    /// The line for `report`.
    static func text(_ report: StatusReport, unchangedFor seconds: UInt64) -> String {
        var text = report.state.rawValue
        if let progress = report.progress {
            text += " \(progress.percent)% - \(progress.detail)"
        }
        guard seconds >= stuckAfter else { return text }
        return text + " (stuck for \(seconds) s\(report.reason.map { ": \($0)" } ?? ""))"
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
