import Base
import CLinux
import Glibc

/// The network namespace of one thread, for programs started by
/// ``IsolatedProcess/runAsNetworkMaker(resolvers:)``.
///
/// Sockets keep the namespace they were made in: a thread that only makes and serves sockets needs
/// nothing else to be kept from every other network.
public struct ThreadNetwork: Sendable {
    /// The thread's number, by which the namespace is found.
    public let thread: Int32

    /// Moves the calling thread into a namespace with nothing but loopback in it.
    public init() throws(IsolationError) {
        let result = clinux_thread_leave_network()
        guard result > 0 else { throw IsolationError(step: .namespaces, code: -result) }
        thread = result
    }

    /// Makes a TUN device in the calling thread's namespace, for a daemon that may not put one
    /// there.
    ///
    /// - Returns: its descriptor, which the caller owns.
    public static func makeDevice() throws(IsolationError) -> Int32 {
        let result = clinux_device_make()
        guard result >= 0 else { throw IsolationError(step: .device, code: -result) }
        return result
    }

    /// Sets `interface` up, which is in the calling thread's namespace already.
    public static func setUp(_ interface: IsolatedProcess.Interface) throws(IsolationError) {
        guard var setup = interface.setup() else {
            throw IsolationError(step: .interface, code: EINVAL)
        }
        let result = unsafe clinux_thread_set_up(&setup)
        if result.code != 0 { throw IsolationError(result) }
    }

    /// Whether the calling thread's namespace has the interface `name`.
    public static func hasInterface(_ name: String) -> Bool {
        unsafe clinux_thread_has_interface(name)
    }

    /// Runs `body` on the calling thread inside the namespace of another thread of this program.
    ///
    /// The calling thread stays in there: for threads that do this alone.
    ///
    /// - Throws: ``IsolationError`` where that thread is gone.
    public func enter() throws(IsolationError) {
        let file = unsafe open("/proc/self/task/\(thread)/ns/net", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw IsolationError(step: .namespaces, code: errno) }
        defer { close(file) }
        let result = clinux_enter_network_namespace(file)
        guard result == 0 else { throw IsolationError(step: .namespaces, code: -result) }
    }
}

/// Sockets at this host's loopback that a command started later inherits.
public enum LoopbackSocket {
    /// What a socket carries.
    public enum Kind: Sendable {
        /// Connections; the socket listens.
        case stream
        /// Datagrams.
        case datagram
    }

    /// Makes a socket at `port` (0: a free one), and returns its descriptor, which the caller owns.
    ///
    /// - Throws: ``IsolationError`` with the system's error number.
    public static func make(
        _ kind: Kind,
        isV6: Bool,
        port: UInt16
    ) throws(IsolationError) -> Int32 {
        let number = kind == .stream ? CLINUX_LISTEN_TCP : CLINUX_LISTEN_UDP
        let result = clinux_loopback_listen(isV6, port, CInt(number))
        guard result >= 0 else { throw IsolationError(step: .interface, code: -result) }
        return result
    }
}
