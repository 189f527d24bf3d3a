import Foundation

/// Runs what waits in system calls on a thread of its own.
///
/// The pool of tasks has as few threads as the machine has cores: two tests that wait on them for
/// what a third task does wait for ever.
public func onOwnThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            blockSignals()
            continuation.resume(with: Result { try body() })
        }
    }
}

/// Runs what waits in system calls, and cannot fail, on a thread of its own.
public func onOwnThread<Value: Sendable>(
    _ body: @escaping @Sendable () -> Value
) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread {
            blockSignals()
            continuation.resume(returning: body())
        }
    }
}

/// Leaves signals to the threads of other tests: one here would interrupt a call that waits.
private func blockSignals() {
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, nil)
}
