import CLinux
import EventLoop
import Glibc
import Synchronization

/// Threads that enter namespaces of a lab; sockets they open stay there.
enum LabThread {
    /// A thread that can be kept in an array and joined from anywhere, once.
    final class Handle: Sendable {
        private let thread: Mutex<LoopThread?>

        /// Starts `body` on a thread.
        ///
        /// - Throws: ``IOError`` when the system has no room for another one.
        init(_ name: String, _ body: @escaping @Sendable () -> Void) throws(IOError) {
            thread = Mutex(try LoopThread.start(name: name, body: body))
        }

        /// Waits until the body has returned.
        func join() {
            if let thread = thread.withLock({ $0.take() }) { thread.join() }
        }
    }

    private final class Outcome<Value: Sendable>: Sendable {
        let value = Mutex<Result<Value, any Error>?>(nil)
    }

    /// Runs `body` on a thread of its own inside a namespace and waits for it.
    ///
    /// - Throws: what `body` throws, ``IOError`` where the namespace cannot be entered.
    static func inside<Value: Sendable>(
        _ namespace: String,
        _ body: @escaping @Sendable () throws -> Value
    ) throws -> Value {
        let outcome = Outcome<Value>()
        let thread = try LoopThread.start(name: "in-namespace") {
            let result = Result {
                try enter(namespace)
                return try body()
            }
            outcome.value.withLock { $0 = result }
        }
        thread.join()
        guard let result = outcome.value.withLock({ $0 }) else {
            throw IOError("run a thread in", namespace, code: ECANCELED)
        }
        return try result.get()
    }

    /// Moves the calling thread into a namespace, for good.
    ///
    /// - Throws: ``IOError`` when there is no such namespace, or no privilege.
    static func enter(_ namespace: String) throws(IOError) {
        let path = "/run/netns/\(namespace)"
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
        let descriptor = try OwnedDescriptor(number >= 0 ? number : -errno, "open", path)
        let code = clinux_enter_network_namespace(descriptor.number)
        guard code == 0 else { throw IOError("enter", path, code: -code) }
    }
}
