import ArgumentParser
import ControlAPI
import FoundationEssentials
import Glibc
import HostNetwork

/// `umbel proxy`: SOCKS 5 and HTTP for programs that can only do that.
struct ProxyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy",
        abstract: "Offer a SOCKS 5 and HTTP proxy whose connections go through circuits.",
        discussion: """
            Listens at this machine's loopback alone, for SOCKS 5 (CONNECT and UDP ASSOCIATE, names \
            resolved in the tunnel) and HTTP (CONNECT and plain requests) at the same port. Each pair \
            of user name and password gets a circuit of its own, as do connections without one; the \
            names themselves mean nothing. What the proxy sends out can leave by nothing else: it is \
            in a network whose one interface is the tunnel's. Where no daemon runs, root starts one. \
            Ends at SIGTERM or Ctrl-C.
            """
    )

    /// Clients that can send datagrams at a time.
    private static let relayCount = 64

    @OptionGroup var exit: ExitOptions
    @OptionGroup var traffic: TrafficOptions
    @Option(help: ArgumentHelp("Port at this machine's loopback.", valueName: "port"))
    var port: UInt16 = 1080
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func validate() throws {
        guard port > 0 else { throw ValidationError("A port is from 1 to 65535.") }
    }

    func run() async throws {
        // Before there are sockets a daemon that is started would inherit.
        _ = try await socket.startedDaemon()
        // While this program is in the network of those it serves; what it starts inherits them.
        let (listeners, families) = try listen()
        let relays: [Int32]
        do throws(IsolationError) {
            relays = try (0..<Self.relayCount).map { _ throws(IsolationError) in
                try LoopbackSocket.make(.datagram, isV6: false, port: 0)
            }
        } catch {
            throw Self.failure(error)
        }
        // Ends, and with it the proxy, when this program does, however that comes.
        var lifeline: [Int32] = [-1, -1]
        guard pipe(&lifeline) == 0, fcntl(lifeline[1], F_SETFD, FD_CLOEXEC) == 0 else {
            throw Self.failure(IsolationError(step: .fork, code: errno))
        }
        let arguments =
            ["--listeners", Self.list(listeners), "--relays", Self.list(relays)]
            + ["--lifeline", "\(lifeline[0])", "--port", "\(port)", "--families", "\(families)"]
            + ["--socket", socket.path] + (format.json ? ["--json"] : [])
            + (exit.exit.map { ["--exit", $0.text] } ?? []) + traffic.arguments
        if !format.json { TrafficText.tellPrice(of: traffic.choice) }
        let ending: IsolatedProcess.Ending
        do throws(IsolationError) {
            let process = try IsolatedProcess(["/proc/self/exe", "proxy-inside"] + arguments)
            ending = try await process.runAsNetworkMaker(
                resolvers: [TunnelAddresses.resolverV4, TunnelAddresses.resolverV6]
            ).ending()
        } catch {
            throw RunCommand.failure(error)
        }
        switch ending {
        case .exited(let status): Glibc.exit(status)
        case .killed(let signal): RunningProcess.die(bySignal: signal)
        }
    }

    /// Listens in both families, or in IPv4 where there is no other; tells how many there are.
    private func listen() throws(Failure) -> (listeners: [Int32], families: Int) {
        do throws(IsolationError) {
            var listeners = [try LoopbackSocket.make(.stream, isV6: false, port: port)]
            do throws(IsolationError) {
                listeners.append(try LoopbackSocket.make(.stream, isV6: true, port: port))
            } catch {
                // Somebody else at the port of one family would get what is meant for this proxy.
                guard error.code == EAFNOSUPPORT || error.code == EADDRNOTAVAIL else { throw error }
            }
            return (listeners, listeners.count)
        } catch {
            throw Failure(
                "cannot listen at port \(port)",
                why: String(cString: strerror(error.code)),
                hint: "umbel proxy --port \(port < 1024 ? 1080 : port &+ 1)",
                exit: error.code == EACCES ? .permission : .unavailable
            )
        }
    }

    private static func list(_ descriptors: [Int32]) -> String {
        descriptors.map(String.init).joined(separator: ",")
    }

    private static func failure(_ error: IsolationError) -> Failure {
        Failure(
            "the proxy cannot be started",
            why: String(cString: strerror(error.code)),
            hint: "ulimit -n 1024",
            exit: .temporary
        )
    }
}
