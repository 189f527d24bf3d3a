import CLinux
import Glibc

/// A thread of the operating system with a name, for loops that own sockets.
///
/// All signals are blocked on it, so that they reach the main thread and interrupt no system
/// call here; its timers are precise to a microsecond instead of the usual 50. A thread that is
/// not joined runs on alone.
public struct LoopThread: ~Copyable {
    private let handle: pthread_t

    /// Starts `body` on a new thread called `name`, of which the kernel keeps 15 bytes.
    ///
    /// - Throws: ``IOError`` when the system has no room for another thread.
    public static func start(
        name: String,
        body: @escaping @Sendable () -> Void
    ) throws(IOError) -> LoopThread {
        try start(name: name, owning: ()) { (_: consuming Void) in body() }
    }

    /// Starts `body` on a new thread and moves `value`, such as a socket, into it.
    ///
    /// - Throws: ``IOError`` when the system has no room for another thread; `value` goes with it.
    public static func start<Value: ~Copyable>(
        name: String,
        owning value: consuming sending Value,
        body: @escaping @Sendable (consuming Value) -> Void
    ) throws(IOError) -> LoopThread {
        let start = ThreadStart(name: name, value: value, body: body)
        return LoopThread(handle: try launch(name, start))
    }

    /// Waits until the body has returned.
    public consuming func join() {
        let result = pthread_join(handle, nil)
        precondition(result == 0, "a thread cannot join itself")
        discard self
    }

    deinit {
        _ = pthread_detach(handle)
    }

    private init(handle: pthread_t) {
        self.handle = handle
    }

    private static func launch(_ name: String, _ start: AnyThreadStart) throws(IOError) -> pthread_t
    {
        var all = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        var handle = pthread_t()
        let context = unsafe Unmanaged.passRetained(start)
        let result = unsafe pthread_create(
            &handle,
            nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<AnyThreadStart>.fromOpaque(context).takeRetainedValue().run()
                return nil
            },
            context.toOpaque()
        )
        guard result == 0 else {
            unsafe context.release()
            throw IOError("start thread", name, code: result)
        }
        return handle
    }
}

/// What a new thread begins with, whatever value it owns.
private class AnyThreadStart {
    func run() {}
}

private final class ThreadStart<Value: ~Copyable>: AnyThreadStart {
    private let name: String
    private var value: Value?
    private let body: (consuming Value) -> Void

    init(name: String, value: consuming Value, body: @escaping (consuming Value) -> Void) {
        self.name = name
        self.value = consume value
        self.body = body
    }

    override func run() {
        let slackNanoseconds: UInt64 = 1_000
        unsafe name.withCString { unsafe clinux_describe_thread($0, slackNanoseconds) }
        guard let value = value.take() else { return }
        body(value)
    }
}
