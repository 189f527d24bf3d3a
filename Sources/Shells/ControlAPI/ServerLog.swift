import Logging

/// The log of an HTTP server that is ended by cancelling it, which the library reports as its error.
struct ServerLog: LogHandler {
    private var log: any LogHandler

    /// `logger`, without that report.
    static func of(_ logger: Logger) -> Logger {
        Logger(label: logger.label) { _ in Self(log: logger.handler) }
    }

    var metadata: Logger.Metadata {
        get { log.metadata }
        set { log.metadata = newValue }
    }

    var logLevel: Logger.Level {
        get { log.logLevel }
        set { log.logLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { log[metadataKey: key] }
        set { log[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        guard !"\(event.message)".hasSuffix("CancellationError()") else { return }
        log.log(event: event)
    }
}
