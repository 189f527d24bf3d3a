import Testing

/// Time after which what was waited for will not come, on a machine that is busy with other things.
///
/// No test here fails for being slow: how fast things are is shown in virtual time, by simulations.
let patience = Duration.seconds(60)

/// Asks `condition` again and again until it holds; says how long that took.
///
/// - Throws: what `condition` throws, or a failed requirement once ``patience`` is over.
@discardableResult
func eventually(
    _ what: @autoclosure () -> Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws -> Duration {
    let begin = ContinuousClock.now
    while true {
        let holds = try await condition()
        let elapsed = ContinuousClock.now - begin
        if holds { return elapsed }
        try #require(elapsed < patience, what(), sourceLocation: sourceLocation)
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
