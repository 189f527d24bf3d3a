import Base
import ControlAPI
import EventLoop
import HostNetwork
import Logging
import Synchronization

/// Keeps an exit's resolver running: starts it, sees that it answers, and starts it again where it
/// ended or went silent.
///
/// While it does not run, the kernel refuses clients' questions at once. Names are not logged.
final class ResolverKeeper: Sendable {
    /// How it stands.
    struct State: Hashable, Sendable {
        /// Whether it answered when it was asked last.
        var isAnswering = false
        /// How often it ended by itself.
        var endings: UInt64 = 0
        /// How often it was ended because it went silent.
        var silences: UInt64 = 0
    }

    /// What is run.
    let resolver: ExitResolver
    private let shared: SharedState
    private let mailbox: Mailbox<@Sendable () -> Void>

    /// State that the resolver's thread writes and others read.
    final class SharedState: Sendable {
        let value = Mutex(State())
    }

    /// Starts `resolver`, and returns once it answers.
    ///
    /// - Throws: ``Failure`` where it does not start or answer, `HostNetworkError` where it is missing.
    static func start(_ resolver: ExitResolver, logger: Logger) async throws -> ResolverKeeper {
        let command = try resolver.command()
        let wakeup = try Wakeup()
        let mailbox = Mailbox<@Sendable () -> Void>(capacity: 1, wakeup: wakeup)
        let shared = SharedState()
        let problem: String? = await withCheckedContinuation { continuation in
            let once = Once<String>(continuation)
            let loop = ResolverLoop(
                resolver: resolver,
                command: command,
                mailbox: mailbox,
                wakeup: wakeup,
                shared: shared,
                logger: logger,
                onFirst: { once.resume($0) }
            )
            do throws(IOError) {
                _ = try LoopThread.start(name: "umbel-resolver", owning: loop) { $0.run() }
            } catch {
                once.resume("\(error)")
            }
        }
        if let problem {
            throw Failure(
                "the exit's resolver \(resolver.program.rawValue) does not serve",
                why: problem,
                hint: "see `resolver` and `upstreams` in [exit]; an address in `resolver` has"
                    + " another machine answer",
                exit: .unavailable
            )
        }
        return ResolverKeeper(resolver, shared: shared, mailbox: mailbox)
    }

    private init(
        _ resolver: ExitResolver,
        shared: SharedState,
        mailbox: Mailbox<@Sendable () -> Void>
    ) {
        self.resolver = resolver
        self.shared = shared
        self.mailbox = mailbox
    }

    /// How it stands now.
    var state: State {
        shared.value.withLock { $0 }
    }

    /// How it stands, for status.
    var report: ExitResolverReport {
        let state = state
        return ExitResolverReport(
            program: resolver.program.rawValue,
            answers: state.isAnswering,
            restarts: state.endings + state.silences
        )
    }

    /// Ends the program and its thread.
    func stop() async {
        let _: Bool? = await withCheckedContinuation { continuation in
            let once = Once(continuation)
            mailbox.insist { once.resume(true) }
        }
    }
}
