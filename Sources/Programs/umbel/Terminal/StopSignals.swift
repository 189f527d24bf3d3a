import UnixSignals

/// Waits for a reason to end: a signal, or a node that failed.
enum StopSignals {
    /// Returns `nil` at SIGTERM or SIGINT, or why the node failed.
    static func wait(orFailure failure: @escaping @Sendable () async -> String?) async -> String? {
        await withTaskGroup(of: String?.self) { group in
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) { break }
                return nil
            }
            group.addTask { await failure() }
            let first = await group.next()
            group.cancelAll()
            return first ?? nil
        }
    }
}
