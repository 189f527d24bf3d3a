import FoundationEssentials
import Logging

/// Log lines of long-running commands: to stderr, with the priorities journald reads.
///
/// Addresses of clients and destinations are never logged at any level.
struct DaemonLog: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let label: String

    init(label: String, level: Logger.Level) {
        self.label = label
        logLevel = level
    }

    /// A logger for the daemon called `label`.
    static func make(_ label: String, isVerbose: Bool) -> Logger {
        Logger(label: label) { DaemonLog(label: $0, level: isVerbose ? .debug : .notice) }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        Output.note("<\(Self.priority(event.level))>\(label): \(event.message)")
    }

    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
