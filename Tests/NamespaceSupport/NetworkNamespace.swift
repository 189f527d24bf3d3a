import CLinux
import EventLoop
import Foundation
import Synchronization

/// A network namespace of its own for one test, deleted with the value.
///
/// Needs root and `ip` of iproute2; see ``whyUnavailable``.
public final class NetworkNamespace: Sendable {
    /// Its name, as `ip netns` lists it.
    public let name: String

    private static let count = Atomic(0)

    /// Why namespaces cannot be made here; `nil` where they can.
    public static let whyUnavailable: String? = {
        guard geteuid() == 0 else { return "network namespaces need root" }
        guard FileManager.default.isExecutableFile(atPath: "/sbin/ip") else {
            return "no /sbin/ip: install iproute2"
        }
        return nil
    }()

    /// Makes a namespace whose loopback is up.
    ///
    /// - Throws: ``CommandFailure`` when `ip` does.
    public init() throws {
        let number = Self.count.add(1, ordering: .relaxed).newValue
        name = "umbel-\(getpid())-\(number)"
        try Command.run("ip", "netns", "add", name)
        try ip("link", "set", "lo", "up")
    }

    deinit {
        _ = try? Command.run("ip", "netns", "delete", name)
    }

    /// Runs `ip` with `arguments` in the namespace.
    ///
    /// - Throws: ``CommandFailure`` when it fails.
    public func ip(_ arguments: String...) throws {
        try Command.run(["ip", "-n", name] + arguments)
    }

    /// Starts `arguments` in the namespace; the caller waits for it.
    ///
    /// - Throws: when the program cannot be started.
    public func spawn(_ arguments: String...) throws -> Command {
        try Command(["ip", "netns", "exec", name] + arguments)
    }

    /// Runs `body` on a thread of its own inside the namespace and hands back what it returns.
    ///
    /// What `body` opens stays in the namespace wherever it is used later.
    /// - Throws: what `body` throws.
    public func inside<Value: ~Copyable & Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) throws -> Value {
        try Self.inside(name, body)
    }

    /// Runs `body` as ``inside(_:)`` does, in the namespace `name`, whoever made it.
    ///
    /// - Throws: what `body` throws.
    public static func inside<Value: ~Copyable & Sendable>(
        _ name: String,
        _ body: @escaping @Sendable () throws -> Value
    ) throws -> Value {
        let outcome = Outcome<Value>()
        let thread = try LoopThread.start(name: "in-namespace") {
            do {
                try Self.enter(name)
                outcome.put(try body())
            } catch {
                outcome.error.withLock { $0 = error }
            }
        }
        thread.join()
        if let error = outcome.error.withLock({ $0 }) { throw error }
        guard let value = outcome.take() else {
            throw IOError("run a thread in", name, code: ECANCELED)
        }
        return value
    }

    /// Moves the calling thread into the namespace `name`, for good.
    ///
    /// - Throws: ``IOError`` when there is no such namespace, or no privilege.
    public static func enter(_ name: String) throws {
        let path = "/run/netns/\(name)"
        let number = open(path, O_RDONLY | O_CLOEXEC)
        let fd = try OwnedDescriptor(number >= 0 ? number : -errno, "open", path)
        let code = clinux_enter_network_namespace(fd.number)
        guard code == 0 else { throw IOError("enter", path, code: -code) }
    }

    private final class Outcome<Value: ~Copyable & Sendable>: Sendable {
        let error = Mutex<(any Error)?>(nil)
        private let value = Mutex<Value?>(nil)

        func put(_ value: consuming sending Value) {
            var value: Value? = consume value
            self.value.withLock { $0 = value.take() }
        }

        func take() -> Value? {
            value.withLock { $0.take() }
        }
    }
}
