import EventLoop
import Glibc
import Synchronization
import Testing

@Suite("Threads of loops", .timeLimit(.minutes(1)))
struct LoopThreadTests {
    private struct Cargo: ~Copyable {
        let number: Int
        let gone: Wakeup
        deinit { gone.signal() }
    }

    @Test("a thread has its name, blocks signals, and is done when joined")
    func start() throws {
        let shared = Shared(name: Mutex(""), blocked: Mutex([]))
        // Test runners block signals on their threads: open one to see that it stays open.
        var one = sigset_t()
        var before = sigset_t()
        sigemptyset(&one)
        sigaddset(&one, SIGUSR1)
        pthread_sigmask(SIG_UNBLOCK, &one, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let thread = try LoopThread.start(name: "umbel-shard-0") {
            var buffer = [CChar](repeating: 0, count: 32)
            let file = open("/proc/thread-self/comm", O_RDONLY)
            read(file, &buffer, 31)
            close(file)
            shared.name.withLock {
                $0 = String(decoding: buffer.prefix { $0 != 10 }.map(UInt8.init), as: UTF8.self)
            }
            var set = sigset_t()
            pthread_sigmask(SIG_SETMASK, nil, &set)
            shared.blocked.withLock {
                $0 = [SIGTERM, SIGINT, SIGUSR1].map { sigismember(&set, $0) == 1 }
            }
        }
        thread.join()
        #expect(shared.name.withLock { $0 } == "umbel-shard-0")
        #expect(shared.blocked.withLock { $0 } == [true, true, true])
        var set = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &set)
        #expect(sigismember(&set, SIGUSR1) == 0, "the starter's own signals stay as they were")
    }

    @Test("a value that cannot be copied moves into the thread and goes with it")
    func owning() throws {
        let gone = try Wakeup()
        let seen = Shared(name: Mutex(""), blocked: Mutex([]))
        let cargo = Cargo(number: 17, gone: gone)
        let thread = try LoopThread.start(name: "owner", owning: cargo) { cargo in
            seen.name.withLock { $0 = "\(cargo.number)" }
        }
        thread.join()
        #expect(seen.name.withLock { $0 } == "17")
        #expect(gone.drain())
    }

    private final class Shared: Sendable {
        let name: Mutex<String>
        let blocked: Mutex<[Bool]>

        init(name: consuming Mutex<String>, blocked: consuming Mutex<[Bool]>) {
            self.name = name
            self.blocked = blocked
        }
    }
}
