public import Base
import CLinux
import Foundation
import Glibc

/// A command in network and mount namespaces of its own, which reaches nothing but one interface.
///
/// The namespace has no interface of its own but loopback, so whatever goes wrong, nothing gets
/// out in the clear. A user keeps no rights in there, root only those over files, users and sockets:
/// none that lead out. Name resolution goes to the given resolvers only: `/etc/resolv.conf` and
/// `/etc/nsswitch.conf` are replaced, sockets of local resolver daemons covered.
public struct IsolatedProcess: ~Copyable {
    /// The interface a process shall use: it is in the process's namespace, and down.
    public struct Interface: Sendable {
        /// Its name, 1 to 15 bytes.
        public var name: String
        /// Its IPv4 address.
        public var ipv4: IPAddress
        /// Its IPv6 address.
        public var ipv6: IPAddress
        /// The resolvers reached through it; 1 to 3.
        public var resolvers: [IPAddress]
        /// Largest IP packet it takes, in bytes.
        public var mtu: Int

        /// Makes an interface from its parts.
        public init(
            name: String,
            ipv4: IPAddress,
            ipv6: IPAddress,
            resolvers: [IPAddress],
            mtu: Int
        ) {
            self.name = name
            self.ipv4 = ipv4
            self.ipv6 = ipv6
            self.resolvers = resolvers
            self.mtu = mtu
        }
    }

    /// How a process ended.
    public enum Ending: Hashable, Sendable {
        /// It returned this status.
        case exited(Int32)
        /// This signal ended it.
        case killed(signal: Int32)
    }

    private var process: clinux_isolated

    /// The process's number, by which its namespaces are found under `/proc`.
    public var pid: Int32 {
        process.pid
    }

    /// Forks the process that will become `command`, and puts it into its namespaces.
    ///
    /// A user without the right to make them gets a user namespace around them. To be called
    /// before this process opens sockets, which the command would else inherit where they are not
    /// marked close-on-exec.
    ///
    /// - Precondition: `command` is not empty.
    public init(_ command: [String]) throws(IsolationError) {
        precondition(!command.isEmpty, "no command")
        var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe arguments.forEach { unsafe free($0) }
        }
        process = clinux_isolated()
        let result = unsafe clinux_isolated_start(&arguments, &process)
        if result.code != 0 { throw IsolationError(result) }
    }

    /// Has the process make a TUN device in its network, for a daemon that may not put one there.
    ///
    /// - Returns: the device's descriptor in that process, which closes it when it becomes its
    ///   command.
    /// - Throws: ``IsolationError`` where it cannot; the process goes on waiting.
    public func makeDevice() throws(IsolationError) -> Int32 {
        var device: Int32 = -1
        let result = unsafe clinux_isolated_make_device(process.channel, &device)
        if result.code != 0 { throw IsolationError(result) }
        return device
    }

    /// Sets the interface up and lets the process become its command.
    ///
    /// From now on this program leaves SIGINT and SIGQUIT to the command, and passes SIGTERM,
    /// SIGHUP, SIGUSR1 and SIGUSR2 on to it. After a failure the process is gone.
    public consuming func run(
        through interface: Interface
    ) throws(IsolationError) -> RunningProcess {
        guard var setup = interface.setup() else {
            unsafe clinux_isolated_abandon(&process)
            throw IsolationError(step: .interface, code: EINVAL)
        }
        return try become(&setup)
    }

    /// Lets the process become its command without any interface, asking `resolvers` for names.
    ///
    /// The command keeps the right to make network namespaces for its threads
    /// (``ThreadNetwork``), and no other.
    public consuming func runAsNetworkMaker(
        resolvers: [IPAddress]
    ) throws(IsolationError) -> RunningProcess {
        var setup = clinux_isolated_setup()
        setup.is_network_maker = true
        guard Self.fillFiles(&setup, resolvers: resolvers) else {
            unsafe clinux_isolated_abandon(&process)
            throw IsolationError(step: .resolver, code: EINVAL)
        }
        return try become(&setup)
    }

    private consuming func become(
        _ setup: inout clinux_isolated_setup
    ) throws(IsolationError) -> RunningProcess {
        let result = unsafe clinux_isolated_run(&process, &setup)
        if result.code != 0 { throw IsolationError(result) }
        return RunningProcess(process)
    }

    /// Has this program become `command`, with the signals it would have in a shell, and nothing
    /// isolated; returns only where that is impossible.
    ///
    /// - Precondition: `command` is not empty.
    public static func become(_ command: [String]) -> IsolationError {
        precondition(!command.isEmpty, "no command")
        var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe arguments.forEach { unsafe free($0) }
        }
        return IsolationError(step: .exec, code: unsafe clinux_become(&arguments))
    }

    /// Ends a process that shall not become its command after all.
    public consuming func abandon() {
        unsafe clinux_isolated_abandon(&process)
    }

    /// The host's name switch with host names left to files and DNS; empty to leave it alone.
    private static func nameSwitch() -> String {
        guard let text = try? String(contentsOfFile: "/etc/nsswitch.conf", encoding: .utf8) else {
            return ""
        }
        let others = text.split(separator: "\n").filter { line in
            let entry = line.drop(while: \.isWhitespace)
            return !entry.hasPrefix("hosts:") && !entry.hasPrefix("#")
        }
        return others.joined(separator: "\n") + "\nhosts: files dns\n"
    }

    /// Writes the resolver's files into `setup`; false where they do not fit.
    fileprivate static func fillFiles(
        _ setup: inout clinux_isolated_setup,
        resolvers: [IPAddress]
    ) -> Bool {
        let text = resolvers.map { "nameserver \($0)\n" }.joined()
        return !resolvers.isEmpty && fill(&setup.resolver, text.utf8)
            && fill(&setup.name_switch, nameSwitch().utf8)
    }

    /// Copies `text` to the front of `field`; false where it and the ending 0 do not fit.
    fileprivate static func fill<Field>(_ field: inout Field, _ text: String.UTF8View) -> Bool {
        unsafe withUnsafeMutableBytes(of: &field) { target in
            guard text.count < target.count else { return false }
            unsafe target.copyBytes(from: text)
            return true
        }
    }
}

extension IsolatedProcess.Interface {
    /// The interface as C takes it; `nil` where a part of it does not fit or is no address.
    func setup() -> clinux_isolated_setup? {
        var setup = clinux_isolated_setup()
        guard IsolatedProcess.fill(&setup.interface, name.utf8),
            IsolatedProcess.fillFiles(&setup, resolvers: resolvers), !name.isEmpty,
            let ipv4 = ipv4.v4, !ipv6.isV4
        else { return nil }
        unsafe withUnsafeMutableBytes(of: &setup.ipv4) { target in
            unsafe target.storeBytes(of: ipv4.bigEndian, as: UInt32.self)
        }
        unsafe withUnsafeMutableBytes(of: &setup.ipv6) { target in
            unsafe target.copyBytes(from: ipv6.bytes)
        }
        setup.mtu = Int32(clamping: mtu)
        return setup
    }
}

/// A command that runs in its namespaces.
public struct RunningProcess: ~Copyable {
    private var process: clinux_isolated

    fileprivate init(_ process: clinux_isolated) {
        self.process = process
    }

    /// How the command ended, once it has.
    ///
    /// A thread of its own waits: where there is one processor, tasks have one thread together.
    public consuming func ending() async -> IsolatedProcess.Ending {
        let process = self.process
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: Self.wait(for: process)) }
        }
    }

    private static func wait(for process: clinux_isolated) -> IsolatedProcess.Ending {
        var process = process
        let status = unsafe clinux_isolated_wait(&process)
        // As <sys/wait.h> takes the word apart.
        guard status >= 0 else { return .exited(1) }
        let signal = status & 0x7f
        return signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: signal)
    }

    /// Ends this program by `signal`, so that its parent sees what became of the command.
    public static func die(bySignal signal: Int32) -> Never {
        clinux_die_by_signal(signal)
        exit(128 + signal)
    }
}
