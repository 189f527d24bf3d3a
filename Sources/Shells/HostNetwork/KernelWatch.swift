import Base
import CLinux
public import EventLoop

/// Tells when somebody changes firewall rules, routes, addresses or interfaces of this network
/// namespace: the kernel's netlink notifications.
///
/// Says that something changed, not what: whoever cares looks. Changes of this process count too.
public final class KernelWatch: Sendable {
    private let stopping: Wakeup

    /// Calls `changed`, from a thread of its own, after each change from now on.
    ///
    /// Several that come together are one call.
    /// - Throws: ``IOError`` where the kernel has no such notifications for this process.
    public static func start(
        changed: @escaping @Sendable () -> Void
    ) throws(IOError) -> KernelWatch {
        let stopping = try Wakeup()
        let routes = try OwnedDescriptor(
            clinux_netlink_listen(CInt(CLINUX_NETLINK_ROUTE)),
            "listen to",
            "changes of routes"
        )
        let rules = try OwnedDescriptor(
            clinux_netlink_listen(CInt(CLINUX_NETLINK_FIREWALL)),
            "listen to",
            "changes of firewall rules"
        )
        var poller = try Poller()
        try poller.add(routes.number, token: 0)
        try poller.add(rules.number, token: 1)
        try poller.add(stopping.descriptor, token: stopToken)
        let sources = Sources(poller: poller, routes: routes, rules: rules)
        // The thread ends by its wakeup and needs no join.
        _ = try LoopThread.start(name: "umbel-kernel", owning: sources) { sources in
            sources.run(changed)
        }
        return KernelWatch(stopping)
    }

    private init(_ stopping: Wakeup) {
        self.stopping = stopping
    }

    deinit {
        stopping.signal()
    }

    private static let stopToken: UInt64 = 2

    private struct Sources: ~Copyable {
        var poller: Poller
        let routes: OwnedDescriptor
        let rules: OwnedDescriptor

        consuming func run(_ changed: () -> Void) {
            while let count = try? poller.wait(until: nil, now: MonotonicClock.now()) {
                for index in 0..<count where poller.event(at: index).token == stopToken { return }
                clinux_netlink_drain(routes.number)
                clinux_netlink_drain(rules.number)
                if count > 0 { changed() }
            }
        }
    }
}
