import Foundation
import Glibc
import HostNetwork

/// Starts programs that outlive the command that started them.
enum DetachedProcess {
    /// Starts `command` in a session of its own, its output appended to `log`.
    ///
    /// - Parameter command: the whole argument vector, beginning with a path.
    /// - Throws: ``LabError`` with what the kernel said.
    static func start(_ command: [String], log: String) throws(LabError) -> ProcessIdentity {
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(
            &actions,
            1,
            log,
            O_WRONLY | O_CREAT | O_APPEND,
            0o644
        )
        unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Whatever this command ignores or blocks, the program begins with the usual.
        var none = sigset_t()
        var all = sigset_t()
        unsafe sigemptyset(&none)
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        // 0x80 is POSIX_SPAWN_SETSID, which Glibc shows only to GNU sources.
        let flags = 0x80 | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
        var pid: pid_t = 0
        let status = unsafe withArguments(command) { arguments in
            unsafe posix_spawn(&pid, command[0], &actions, &attributes, arguments, environ)
        }
        guard status == 0 else {
            throw LabError(
                "cannot start \(command[0])",
                why: unsafe String(cString: strerror(status))
            )
        }
        guard let identity = ProcessIdentity(pid: pid) else {
            throw LabError("cannot start \(command[0])", why: "it ended before it began")
        }
        return identity
    }

    /// Becomes `command`; returns only with an error.
    ///
    /// - Throws: ``LabError`` with what the kernel said.
    static func become(_ command: [String]) throws(LabError) -> Never {
        _ = unsafe withArguments(command) { unsafe execv(command[0], $0) }
        throw LabError("cannot run \(command[0])", why: unsafe String(cString: strerror(errno)))
    }

    private static func withArguments<T>(
        _ command: [String],
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> T
    ) -> T {
        var pointers = unsafe command.map { unsafe strdup($0) }
        unsafe pointers.append(nil)
        defer { unsafe pointers.forEach { unsafe free($0) } }
        return unsafe pointers.withUnsafeMutableBufferPointer { buffer in
            // The array holds at least the final nil, so it has a base address.
            guard let base = buffer.baseAddress else { preconditionFailure("an empty array") }
            return unsafe body(base)
        }
    }
}

/// What happened, on standard error with the time since the command began.
struct Progress: Sendable {
    private let start = ContinuousClock.now

    func say(_ text: String) {
        let elapsed = (ContinuousClock.now - start) / .milliseconds(1)
        let line = String(format: "[%6.2f s] ", elapsed / 1_000) + text + "\n"
        FileHandle.standardError.write(Data(line.utf8))
    }

    /// Time since the command began.
    var elapsed: Duration { ContinuousClock.now - start }
}
