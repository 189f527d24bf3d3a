import Base
import EventLoop
import FoundationEssentials
import Glibc

/// The service manager that started this program, told of its state by datagrams.
///
/// The protocol of `sd_notify(3)`; without a manager there is no value, and nothing is told.
public struct ServiceManager: Sendable {
    /// The manager of this process; `nil` where nobody listens.
    public static let ofThisProcess = ServiceManager(
        environment: ProcessInfo.processInfo.environment,
        pid: getpid()
    )

    private let path: String
    /// Time within which it wants to hear that all is well; `nil` where it does not.
    public let watchdog: Duration?

    /// Finds the manager that `environment` names, as that of the process `pid`.
    public init?(environment: [String: String], pid: Int32) {
        // A socket of the file system or, behind an @, of the kernel's own names.
        guard let path = environment["NOTIFY_SOCKET"], path.hasPrefix("/") || path.hasPrefix("@"),
            path.utf8.count < Self.pathLimit
        else { return nil }
        self.path = path
        let microseconds = environment["WATCHDOG_USEC"].flatMap { Int64($0) } ?? 0
        let isForUs = environment["WATCHDOG_PID"].map { $0 == "\(pid)" } ?? true
        watchdog = microseconds > 0 && isForUs ? .microseconds(microseconds) : nil
    }

    /// Sends lines such as `READY=1`; a manager that is gone is no matter.
    public func send(_ lines: String...) {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC | O_NONBLOCK, 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { target in
            unsafe target.copyBytes(from: name)
            if name.first == UInt8(ascii: "@") { unsafe target[0] = 0 }
        }
        // Names without a file end where the address says, not at a zero.
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        let text = Array(lines.joined(separator: "\n").utf8)
        _ = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe sendto(descriptor, text, text.count, 0, pointer, length)
            }
        }
    }

    /// Says in one line what the program is doing.
    public func say(_ text: String) {
        send("STATUS=" + text.split(separator: "\n").joined(separator: " "))
    }

    /// Says that the configuration is read again; `READY=1` ends that.
    public func sendReloading() {
        send("RELOADING=1", "MONOTONIC_USEC=\(MonotonicClock.now().nanoseconds / 1_000)")
    }

    /// Tells the watchdog that all is well, twice within its time, each time `proof` returns.
    ///
    /// Returns at once where there is no watchdog.
    public func keepFed(_ proof: () async -> Void) async {
        guard let watchdog else { return }
        while !Task.isCancelled {
            await proof()
            send("WATCHDOG=1")
            try? await Task.sleep(for: watchdog / 2)
        }
    }

    private static let pathLimit = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
}
