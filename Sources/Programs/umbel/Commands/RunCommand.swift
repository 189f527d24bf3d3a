import ArgumentParser
import Base
import ControlAPI
import Glibc
import HostNetwork

/// `umbel run`: one command, all of whose traffic goes through a circuit.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a command whose only way to the network is a circuit.",
        usage: """
            umbel run [--exit <country>] [--mode <mode>] [--outside] [--socket <path>] \
            -- <command> ...
            """,
        discussion: """
            The command gets a network namespace with one interface, the tunnel's, and resolvers \
            inside the tunnel. It has no capabilities in there; run by root, those over files, \
            users and sockets. Its exit status, or the signal that ended it, is passed on; 126 and \
            127 say that it could not be run or found. Where no daemon runs, root starts one. A daemon \
            of an ordinary user serves that user's commands, where /dev/net/tun is open to everybody.

            With --outside it is the other way round: the command, and what it starts, goes beside \
            the tunnel of a machine that is up. Names are still asked for in the tunnel.
            """
    )

    @OptionGroup var exit: ExitOptions
    @OptionGroup var traffic: TrafficOptions
    @Flag(help: "Let the command out beside the tunnel of this machine.")
    var outside = false
    @OptionGroup var socket: SocketOptions
    @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
    var command: [String]

    func run() async throws {
        let command = command.first == "--" ? Array(command.dropFirst()) : command
        guard !command.isEmpty else { throw ValidationError("Missing the command to run.") }

        if outside {
            guard exit.exit == nil else {
                throw ValidationError("What goes beside the tunnel has no exit: leave out --exit.")
            }
            guard traffic.mode == nil else {
                throw ValidationError("What goes beside the tunnel has no mode: leave out --mode.")
            }
            _ = try await socket.client.goOutside()
            // The command takes the place of this program: its status and signals are its own.
            let error = IsolatedProcess.become(command)
            Output.note(Output.lines("cannot run the command", "\(error)", "check name and PATH"))
            Glibc.exit(error.code == ENOENT ? 127 : 126)
        }
        // First of all, while this program has no sockets the command could inherit.
        let process: IsolatedProcess
        do throws(IsolationError) {
            process = try IsolatedProcess(command)
        } catch {
            throw Self.failure(error)
        }
        // What it costs, before it does.
        TrafficText.tellPrice(of: traffic.choice)
        let client: ControlClient
        let grant: TunnelGrant
        do {
            let daemon = try await socket.startedDaemon()
            client = daemon.client
            grant = try await client.openTunnel(
                TunnelRequest(
                    pid: process.pid,
                    exit: exit.countries,
                    traffic: traffic.choice,
                    device: daemon.node.rootless == true ? process.makeDevice() : nil
                )
            )
        } catch {
            process.abandon()
            if let error = error as? IsolationError { throw Self.failure(error) }
            throw error
        }

        let watch = Task { await Self.watch(client) }
        defer { watch.cancel() }
        let ending: IsolatedProcess.Ending
        do throws(Failure) {
            ending = try await Self.finish(process, grant)
        } catch {
            try? await client.closeTunnel(grant.id)
            throw error
        }
        watch.cancel()
        do {
            try await client.closeTunnel(grant.id)
        } catch {
            Output.note(Output.lines(error.what, error.why, error.hint))
        }
        switch ending {
        case .exited(let status): Glibc.exit(status)
        case .killed(let signal): RunningProcess.die(bySignal: signal)
        }
    }

    /// Says when the daemon ends, and with it the command's network.
    private static func watch(_ client: ControlClient) async {
        var hasSeen = false
        try? await client.watchStatus { _ in
            hasSeen = true
            return true
        }
        guard hasSeen, !Task.isCancelled else { return }
        Output.note(
            Output.lines(
                "the command has no network any more",
                "the daemon has ended, and with it the command's tunnel",
                "end the command, and run it again"
            )
        )
    }

    private static func finish(
        _ process: consuming IsolatedProcess,
        _ grant: TunnelGrant
    ) async throws(Failure) -> IsolatedProcess.Ending {
        guard let interface = IsolatedProcess.Interface(grant) else {
            process.abandon()
            throw misunderstood
        }
        do throws(IsolationError) {
            return try await process.run(through: interface).ending()
        } catch {
            guard error.step == .exec else { throw failure(error) }
            // As a shell does whose command cannot be found or run.
            Output.note(Output.lines("cannot run the command", "\(error)", "check name and PATH"))
            return .exited(error.code == ENOENT ? 127 : 126)
        }
    }

    /// What to say of a grant that makes no sense.
    static let misunderstood = Failure(
        "the tunnel cannot be used",
        why: "the daemon granted addresses that are none",
        hint: "run the same version of `umbel` here and there: restart the daemon",
        exit: .unavailable
    )

    /// What to say of a command that cannot be isolated.
    static func failure(_ error: IsolationError) -> Failure {
        switch (error.step, error.code) {
        case (.namespaces, EPERM), (.namespaces, EACCES), (.userMap, _), (.privateMounts, _):
            Failure(
                "this user may not make network namespaces",
                why: "\(error)",
                hint:
                    "run it with sudo, or allow user namespaces (sysctl user.max_user_namespaces)",
                exit: .permission
            )
        case (.device, EPERM), (.device, EACCES):
            Failure(
                "this user's daemon cannot be given a tunnel",
                why: "\(error)",
                hint: "sudo chmod 666 /dev/net/tun, or use the machine's daemon: sudo umbel run",
                exit: .permission
            )
        case (.device, _):
            Failure(
                "there can be no tunnel",
                why: "\(error)",
                hint: "load the driver with `modprobe tun`; in a container, pass /dev/net/tun in",
                exit: .unavailable
            )
        case (.namespaces, ENOSPC):
            Failure(
                "no further network namespace can be made",
                why: "\(error)",
                hint: "raise sysctl user.max_net_namespaces",
                exit: .temporary
            )
        case (.resolver, ENOENT):
            Failure(
                "the command could not be kept from this host's resolver",
                why: "/etc/resolv.conf or what it links to does not exist",
                hint: "touch /etc/resolv.conf",
                exit: .unavailable
            )
        default:
            Failure(
                "the command could not be given its own network",
                why: "\(error)",
                hint: "see the daemon's log, then try again",
                exit: .unavailable
            )
        }
    }
}

extension IsolatedProcess.Interface {
    /// The interface of `grant`; `nil` where its addresses are none.
    init?(_ grant: TunnelGrant) {
        let resolvers = grant.resolvers.compactMap { IPAddress($0) }
        guard let ipv4 = IPAddress(grant.ipv4), let ipv6 = IPAddress(grant.ipv6),
            resolvers.count == grant.resolvers.count, !resolvers.isEmpty
        else { return nil }
        self.init(
            name: grant.interface,
            ipv4: ipv4,
            ipv6: ipv6,
            resolvers: resolvers,
            mtu: grant.mtu
        )
    }
}
