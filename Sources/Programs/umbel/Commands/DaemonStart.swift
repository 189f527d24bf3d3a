import ControlAPI
import FoundationEssentials
import Glibc
import HostNetwork
import NodeConfiguration

/// Starts a client's daemon for a command that finds none.
enum DaemonStart {
    /// The configuration a daemon is started with unless somebody says otherwise.
    static let configuration = ClientPlaces.system.configuration
    /// The unit that keeps it, where there is a service manager.
    static let unit = "umbel-client"
    private static let patience = Duration.seconds(10)

    /// Starts a daemon that serves at `path`, and returns once `client` reaches it.
    ///
    /// - Throws: `absence` where this user or this machine cannot, else ``Failure`` with the reason.
    static func start(
        for client: ControlClient,
        at path: String,
        insteadOf absence: Failure
    ) async throws(Failure) {
        guard geteuid() == 0, FileManager.default.fileExists(atPath: configuration) else {
            throw absence
        }
        let served: String
        do throws(ConfigurationError) {
            served = try ClientConfiguration(file: configuration).control.path
        } catch {
            throw Failure(
                "no daemon runs, and none can be started",
                why: error.problems.first?.what ?? "\(configuration) is wrong",
                hint: "umbel check-config \(configuration)",
                exit: .configuration
            )
        }
        guard served == path else { throw absence }
        Output.note("no daemon runs: starting one")
        if await hasUnit() {
            try await run(["systemctl", "start", unit])
        } else {
            try spawn()
        }
        let end = ContinuousClock.now + patience
        while ContinuousClock.now < end {
            if (try? await client.node()) != nil { return }
            try? await Task.sleep(for: .milliseconds(50))
        }
        throw Failure(
            "the daemon that was started does not answer",
            why: "nobody serves at \(path) after 10 seconds",
            hint: "umbel daemon --config \(configuration)",
            exit: .unavailable
        )
    }

    /// Whether a service manager runs this machine and knows the unit.
    private static func hasUnit() async -> Bool {
        guard FileManager.default.fileExists(atPath: "/run/systemd/system") else { return false }
        let outcome = try? await CommandRunner().outcome(of: ["systemctl", "cat", unit])
        return outcome?.status == 0
    }

    private static func run(_ argv: [String]) async throws(Failure) {
        do throws(HostNetworkError) {
            try await CommandRunner().run(argv)
        } catch {
            throw Failure(
                "the daemon cannot be started",
                why: "\(error.what): \(error.why)",
                hint: "journalctl -u \(unit)",
                exit: .unavailable
            )
        }
    }

    /// Starts this very program as a daemon in a session of its own, its log beside its state.
    private static func spawn() throws(Failure) {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(
            &actions,
            1,
            log,
            O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW,
            0o600
        )
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Whatever this command ignores or blocks, the daemon begins with the usual.
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // 0x80 is POSIX_SPAWN_SETSID, which Glibc shows only to GNU sources.
        let flags = 0x80 | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(flags))
        let words = ["umbel", "daemon", "--config", configuration]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let status = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, &arguments, environ)
        guard status == 0 else {
            throw Failure(
                "the daemon cannot be started",
                why: String(cString: strerror(status)),
                hint: "umbel daemon --config \(configuration)",
                exit: .unavailable
            )
        }
    }

    /// Where a daemon logs that no service manager keeps.
    static let log = "/var/log/umbel-client.log"
}

extension SocketOptions {
    /// A client of the daemon, which is started where none runs and this user may, and what the
    /// daemon says of itself.
    func startedDaemon() async throws(Failure) -> (client: ControlClient, node: NodeReport) {
        let client = client
        do throws(Failure) {
            return (client, try await client.node())
        } catch {
            guard error.exitCode == ExitStatus.unavailable.rawValue, !isHeld(path + ".lock") else {
                throw error
            }
            try await DaemonStart.start(for: client, at: path, insteadOf: error)
        }
        return (client, try await client.node())
    }

    /// Whether a node holds the lock file: one that does not answer is not started a second time.
    private func isHeld(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) != 0
    }
}
