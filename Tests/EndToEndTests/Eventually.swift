import Testing

/// Asks `condition` again and again until it holds; says how long that took.
///
/// - Throws: what `condition` throws, or a failed requirement once `limit` is over.
@discardableResult
func eventually(
    within limit: Duration,
    _ what: Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws -> Duration {
    let begin = ContinuousClock.now
    while true {
        let holds = try await condition()
        let elapsed = ContinuousClock.now - begin
        if holds { return elapsed }
        try #require(elapsed < limit, what, sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(20))
    }
}

/// Asks for as long as `duration` whether `condition` still holds, and returns whether it did.
func holds(for duration: Duration, _ condition: () async throws -> Bool) async throws -> Bool {
    let end = ContinuousClock.now + duration
    while ContinuousClock.now < end {
        guard try await condition() else { return false }
        try await Task.sleep(for: .milliseconds(20))
    }
    return true
}
