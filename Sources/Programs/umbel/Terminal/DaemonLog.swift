import ControlAPI
import FoundationEssentials
import Logging
import NodeRuntime

/// Log lines of long-running commands: to stderr, with the priorities journald reads.
///
/// Addresses of clients and destinations are never logged at any level. What an event is about, for
/// who sorts events by that, is its metadata's `kind`, an ``EventReport/Kind``.
struct DaemonLog: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let label: String
    /// What is less is not written to stderr.
    private let threshold: Logger.Level
    private let ring: EventRing?

    init(label: String, level: Logger.Level, ring: EventRing? = nil) {
        self.label = label
        threshold = level
        self.ring = ring
        logLevel = ring == nil ? level : min(level, .info)
    }

    /// A logger for the daemon called `label`, which also keeps what happened in `ring`.
    static func make(_ label: String, isVerbose: Bool, ring: EventRing? = nil) -> Logger {
        Logger(label: label) {
            DaemonLog(label: $0, level: isVerbose ? .debug : .notice, ring: ring)
        }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        ring?.note(
            level: event.level.rawValue,
            kind: event.metadata?["kind"].flatMap { EventReport.Kind(rawValue: "\($0)") },
            text: "\(event.message)"
        )
        guard event.level >= threshold else { return }
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
