import ClientCore
public import ControlAPI
import EventLoop
import Glibc
import HostNetwork
import NodeConfiguration

/// Tunnels of single processes, and the devices of all tunnels.
extension ClientNode {
    // MARK: Rights

    /// Whether this daemon has no rights over its machine's network, and so serves single programs of
    /// its own user alone.
    public static let isRootless = !ProcessRights.isNetworkAdministrator

    /// Why a daemon is rootless.
    static let rootlessReason =
        "the daemon runs as user \(geteuid()) without rights over this machine's network"

    /// Sees that a daemon without rights can be handed TUN devices at all.
    static func requireDevice() throws(Failure) {
        let device = unsafe open("/dev/net/tun", O_RDWR | O_CLOEXEC)
        let code = errno
        guard device < 0 else {
            Glibc.close(device)
            return
        }
        let reason = unsafe String(cString: strerror(code))
        throw Failure(
            "the daemon cannot start",
            why: "user \(geteuid()) may neither change the network (CAP_NET_ADMIN) nor open"
                + " /dev/net/tun: \(reason)",
            hint: "run it as root; or, for `umbel run` of this user: sudo chmod 666 /dev/net/tun",
            exit: .permission
        )
    }

    /// Sees that this daemon leads the whole machine.
    ///
    /// - Parameters:
    ///   - order: what it was asked to do with the machine.
    ///   - hint: what to do instead.
    func requireMachine(for order: String, hint: String) throws(Failure) {
        guard Self.isRootless else { return }
        throw Failure(
            "this daemon cannot \(order) the whole machine",
            why: Self.rootlessReason,
            hint: hint,
            exit: .permission
        )
    }

    // MARK: Tunnels of processes

    /// Makes a tunnel of its own for the process that asks.
    public func openTunnel(
        _ request: TunnelRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> TunnelGrant {
        let owner = try owner(request.pid)
        try requireSameUser(owner, peer)
        try owner.requireOwnNetwork(thread: request.thread)
        let traffic = request.traffic ?? TrafficChoice(configuration.tunnel)
        try traffic.check()
        let wanted = try await constraints(exit: request.exit)
        try Self.requireDescriptors(for: owner)
        let core =
            Self.isRootless
            ? try await openDevice(.handedOver(device(of: owner, request)))
            : try await openDevice(
                movedTo: request.thread ?? request.pid,
                name: "umbel-run\(nextTunnel)"
            )
        let id = ControlAPI.TunnelID(rawValue: UInt64(core.id.rawValue))
        tunnels[id] = Tunnel(
            core.id,
            core.opened,
            owner: owner,
            wanted: wanted,
            traffic: traffic
        )
        control.insist(.open(core.id, wanted, traffic.wish, core.opened.offload))
        changed()
        guard await isConnected(id) else {
            let why =
                owner.hasEnded
                ? "it has ended" : reason(of: tunnels[id]) ?? "no circuit was built in 30 seconds"
            close(id)
            throw Failure(
                "there is no circuit for process \(request.pid)",
                why: why,
                hint: "umbel status",
                exit: .temporary
            )
        }
        return TunnelGrant(
            id: id,
            interface: core.opened.name,
            ipv4: "\(TunnelAddresses.clientV4)",
            ipv6: "\(TunnelAddresses.clientV6)",
            resolvers: ["\(TunnelAddresses.resolverV4)", "\(TunnelAddresses.resolverV6)"],
            mtu: configuration.tunnel.mtu
        )
    }

    /// Closes the tunnel of a process.
    public func closeTunnel(
        _ id: ControlAPI.TunnelID,
        for peer: PeerCredentials
    ) async throws(Failure) {
        guard let owner = tunnels[id]?.owner else { return }
        try requireSameUser(owner, peer)
        close(id)
    }

    /// Sees that the kill switch can be kept in order when `owner` has its tunnel.
    private static func requireDescriptors(for owner: OwnerProcess) throws(Failure) {
        do throws(HostNetworkError) {
            try DescriptorReserve.require(
                for: .tunnel,
                orSay: "process \(owner.pid) cannot have a tunnel"
            )
        } catch {
            throw Failure(host: error, exit: .temporary)
        }
    }

    private func owner(_ pid: Int32) throws(Failure) -> OwnerProcess {
        do throws(IOError) {
            return try OwnerProcess(pid: pid)
        } catch {
            throw Failure(
                "process \(pid) cannot have a tunnel",
                why: "\(error)",
                hint: error.hint ?? "umbel run -- COMMAND",
                exit: error.code == EMFILE ? .temporary : .failed
            )
        }
    }

    private func requireSameUser(
        _ owner: OwnerProcess,
        _ peer: PeerCredentials
    ) throws(Failure) {
        guard peer.uid == 0 || peer.uid == owner.user else {
            throw Failure(
                "process \(owner.pid) may not have a tunnel by this user",
                why: "it belongs to another user",
                hint: "ask as that user, or as root",
                exit: .permission
            )
        }
    }

    /// The device that `owner` has made in its own network.
    private func device(
        of owner: OwnerProcess,
        _ request: TunnelRequest
    ) throws(Failure) -> DeviceHandover {
        guard let number = request.device else {
            throw Failure(
                "process \(owner.pid) cannot have a tunnel",
                why: "\(Self.rootlessReason), and the process brings no TUN device",
                hint: "use the `umbel` of the version the daemon runs",
                exit: .usage
            )
        }
        do throws(IOError) {
            return DeviceHandover(try owner.descriptor(number))
        } catch {
            throw Failure(
                "the TUN device of process \(owner.pid) cannot be taken over",
                why: "\(error)",
                hint: error.code == ENOSYS
                    ? "run the daemon as root: this kernel is older than Linux 5.6"
                    : "umbel run -- COMMAND",
                exit: error.isPrivilegeMissing ? .permission : .failed
            )
        }
    }

    // MARK: Devices

    /// Makes the device `name`, and moves its interface to the network of the process or thread
    /// `pid`.
    private func openDevice(
        movedTo pid: Int32,
        name: String
    ) async throws(Failure) -> (id: ClientCore.TunnelID, opened: OpenedTunnel) {
        let core = try await openDevice(.made(name: name))
        do throws(HostNetworkError) {
            try await moveInterface(core.opened.name, toNamespaceOf: pid)
        } catch {
            packets.insist(.closeTunnel(core.id))
            throw Failure(host: error)
        }
        return core
    }

    /// Opens the device of a new tunnel.
    func openDevice(
        _ source: TunnelSource
    ) async throws(Failure) -> (id: ClientCore.TunnelID, opened: OpenedTunnel) {
        let id = ClientCore.TunnelID(rawValue: UInt32(truncatingIfNeeded: nextTunnel))
        nextTunnel += 1
        return (id, try await openDevice(source, for: id))
    }

    /// Opens the device of the tunnel `id`.
    func openDevice(
        _ source: TunnelSource,
        for id: ClientCore.TunnelID
    ) async throws(Failure) -> OpenedTunnel {
        let what =
            switch source {
            case .made(let name): "the tunnel interface \(name) cannot be made"
            case .handedOver: "the TUN device cannot be used"
            }
        let result: TunnelOpening? = await withCheckedContinuation { continuation in
            let once = Once(continuation)
            let isPosted = packets.post(.openTunnel(id, source) { once.resume($0) })
            if !isPosted { once.resume(nil) }
        }
        switch result {
        case .opened(let opened): return opened
        case .full:
            throw Failure(
                "there can be no further tunnel",
                why: "there are \(ClientShard.tunnelLimit), as many as there may be",
                hint: "end a program that runs under umbel run",
                exit: .temporary
            )
        case .refused(let error):
            throw Failure(
                what,
                why: "\(error)",
                hint: error.hint ?? "umbel doctor",
                exit: error.isPrivilegeMissing ? .permission : .unavailable
            )
        case nil:
            throw Failure(
                what,
                why: "the packet thread is overrun",
                hint: "try again",
                exit: .temporary
            )
        }
    }
}
