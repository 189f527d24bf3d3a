import Base
import ClientCore
public import ControlAPI
import EventLoop
import HostNetwork
import Logging
import NodeConfiguration
import UDPTransport
import Wire

extension ClientNode: ProtectionService {
    static let lockdownReason =
        "lockdown is on: `umbel up` connects this machine,"
        + " `umbel lockdown off` lets its traffic out directly"

    // MARK: Progress

    private static let followInterval: Duration = .milliseconds(200)

    /// How far the attempt to connect the tunnel `core` has come.
    func progress(
        _ snapshot: ClientSnapshot?,
        of core: ClientCore.TunnelID?
    ) -> StatusReport.Progress {
        let now = MonotonicClock.now()
        let step: ConnectionAttempt.Step =
            snapshot?.directoryProblem != nil
            ? .directory : .init(core.flatMap { snapshot?.stages[$0] })
        var attempt = self.attempt ?? ConnectionAttempt(at: step, now: now)
        _ = attempt.note(step, now: now)
        self.attempt = attempt
        return attempt.progress(now: now)
    }

    /// Tells watchers of every step of an attempt, and of every new reason why it does not come
    /// further, until it is over.
    func followAttempt() {
        guard attempt == nil else { return }
        attempt = ConnectionAttempt(
            at: directoryProblem == nil ? .offline : .directory,
            now: MonotonicClock.now()
        )
        following?.cancel()
        following = Task { [weak self] in
            var last: (percent: Int?, reason: String?) = (nil, nil)
            while !Task.isCancelled, let self, await self.isAttempting {
                let report = await self.status()
                let said = (report.progress?.percent, report.reason)
                if said != last {
                    last = said
                    await self.tellWatchers()
                }
                try? await Task.sleep(for: Self.followInterval)
            }
        }
    }

    private var isAttempting: Bool { attempt != nil }

    // MARK: Health

    /// What is not as it should be, the worst first.
    func health(_ report: StatusReport, _ snapshot: ClientSnapshot?) -> [StatusReport.HealthLine] {
        var lines: [StatusReport.HealthLine] = []
        func note(_ about: String, _ problem: String, _ fix: String) {
            lines.append(StatusReport.HealthLine(about: about, problem: problem, fix: fix))
        }
        if let machineProblem {
            let text = machineProblem.split(separator: "\n").joined(separator: "; ")
            note("lock", text, "umbel doctor")
        }
        if machine == nil, isLocked, !network.isLockdownOn {
            note("lock", "an earlier `umbel up` still blocks traffic", "umbel up, or umbel down")
        }
        let now = WallClock.now()
        if let directory = report.directory, directory.validUntil > 0 {
            if now.seconds + Self.clockTolerance < directory.validAfter {
                let text = Self.length(directory.validAfter - now.seconds)
                note(
                    "clock",
                    "this machine's clock is \(text) or more behind: the directory is of later",
                    "timedatectl set-ntp true"
                )
            } else if now.seconds > directory.validUntil {
                let text = Self.length(now.seconds - directory.validUntil)
                note(
                    "directory",
                    "the list of relays ran out \(text) ago, or this machine's clock is ahead",
                    "set the clock; if it is right, look whether the authorities can be reached"
                )
            }
        }
        let stages = snapshot?.stages.values.map(\.self) ?? []
        if stages.contains(.offline) {
            note("network", "this machine has no way out", "ip route show default")
        }
        let used = snapshot?.circuits.filter(\.isCurrent) ?? []
        let lacking = Set(used.flatMap { $0.pay?.lacking ?? [] })
        if !lacking.isEmpty {
            note(
                "pay",
                "the wallet has no voucher for \(lacking.count == 1 ? "a relay" : "relays") in use: "
                    + "traffic stands still",
                "umbel account show tells what the account has; umbel tickets buy"
            )
        }
        if let until = loginUntil {
            let seconds = until.seconds > now.seconds ? until.seconds - now.seconds : 0
            note(
                "login",
                "a window for the network's login page lets web traffic by for \(seconds) s more",
                "umbel login --end"
            )
        }
        return lines
    }

    private static let clockTolerance: UInt64 = 300

    private static func length(_ seconds: UInt64) -> String {
        switch seconds {
        case ..<7_200: "\(seconds / 60) minutes"
        case ..<172_800: "\(seconds / 3_600) hours"
        default: "\(seconds / 86_400) days"
        }
    }

    // MARK: Orders

    /// Leaves all circuits for others; connections through them end.
    public func reconnect() async throws(Failure) -> StatusReport {
        try beginChange()
        defer { isBusy = false }
        guard !tunnels.isEmpty else {
            throw Failure(
                "there is nothing to reconnect",
                why: reason() ?? "this machine is not connected",
                hint: "umbel up",
                exit: .notConnected
            )
        }
        for id in tunnels.keys { beginAnew(id) }
        changed()
        return await status()
    }

    /// Turns lockdown on, which locks at once, or off, which unlocks where nobody is connected.
    public func setLockdown(_ request: LockdownRequest) async throws(Failure) -> StatusReport {
        try requireMachine(for: "lock", hint: "sudo umbel lockdown \(request.isOn ? "on" : "off")")
        try beginChange()
        defer { isBusy = false }
        await mending?.value
        do throws(HostNetworkError) {
            if request.isOn {
                // Remembered first: what is locked then stays so, whatever happens now.
                try network.setLockdown(true)
                if !isLocked { try await network.hold() }
                isLocked = true
            } else if network.isLockdownOn {
                try network.setLockdown(false)
                if machine == nil {
                    try await network.release()
                    isLocked = false
                }
            }
        } catch {
            changed()
            throw Failure(host: error)
        }
        logger.notice("lockdown is \(request.isOn ? "on" : "off")")
        changed()
        return await status()
    }

    /// Opens or closes the window for a network's login page.
    public func login(
        _ request: LoginRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> StatusReport {
        try requireMachine(for: "open a window of", hint: "sudo umbel login")
        guard peer.uid == 0 || peer.uid == request.user else {
            throw Failure(
                "no window for another user",
                why: "only root may open one for somebody else",
                hint: "umbel login, as that user",
                exit: .permission
            )
        }
        guard isLocked else {
            throw Failure(
                "there is nothing to open",
                why: "this machine's traffic is not blocked: it goes out directly",
                hint: "open any page in a browser",
                exit: .failed
            )
        }
        do throws(HostNetworkError) {
            if request.seconds > 0 {
                try await network.openWindow(user: request.user, seconds: request.seconds)
                loginUntil = WallTime(
                    seconds: WallClock.now().seconds + UInt64(request.seconds)
                )
                logger.notice("a window for a login page is open for \(request.seconds) s")
            } else {
                try await network.closeWindow()
                loginUntil = nil
                logger.notice("the window for a login page is closed")
            }
        } catch {
            throw Failure(host: error)
        }
        changed()
        return await status()
    }

    /// The window's time is over: what is left of it goes too.
    func endLogin() {
        loginUntil = nil
        logger.notice("the window for a login page has closed")
        Task {
            // It lets nothing by any more; the next window replaces it anyway.
            try? await network.closeWindow()
        }
        changed()
    }

    /// Measures the network this machine is in.
    public func checkNetwork() async throws(Failure) -> NetworkReport {
        let v4 = Self.source(toward: IPAddress(v4: 0xc000_0201))
        let v6 = Self.source(toward: IPAddress(high: 0x2001_0db8_0000_0000, low: 1))
        let relays = await snapshot()?.guards ?? []
        let probes = relays.flatMap { relay in
            relay.addresses.all.filter { ($0.ip.isV4 ? v4 : v6) != nil }
                .map { GuardProbe(relay: relay, address: $0, network: networkID) }
        }
        async let mappings = withTaskGroup(of: (Int, NetworkReport.Mapping?).self) { group in
            for (index, isV4) in [true, false].enumerated() {
                // As many as it takes to tell one from all.
                let asked = probes.filter { $0.address.ip.isV4 == isV4 }.prefix(2)
                group.addTask { (index, await MappingProbe(guards: Array(asked)).run()) }
            }
            var answers: [(Int, NetworkReport.Mapping?)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.0 < $1.0 }.compactMap(\.1)
        }
        let guards = await withTaskGroup(of: (Int, NetworkReport.Guard).self) { group in
            for (index, probe) in probes.enumerated() {
                group.addTask { (index, await probe.run()) }
            }
            var answers: [(Int, NetworkReport.Guard)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.0 < $1.0 }.map(\.1)
        }
        let answered = guards.filter { $0.roundTrip != nil }
        let seen = await mappings
        let nat: NetworkReport.Translation
        if !seen.isEmpty {
            nat = seen.allSatisfy { $0.kind == .none } ? .none : .translated
        } else if let source = v4 ?? v6 {
            nat = Self.privateNetworks.contains { $0.contains(source) } ? .translated : .none
        } else {
            nat = .unknown
        }
        return NetworkReport(
            ipv4: v4 != nil,
            ipv6: v6 != nil,
            udp: guards.isEmpty ? nil : !answered.isEmpty,
            mtu: answered.compactMap(\.mtu).min(),
            nat: nat,
            guards: guards,
            mappings: seen.isEmpty ? nil : seen
        )
    }

    /// The address our own datagrams to `destination` would leave by; nothing is sent.
    private static func source(toward destination: IPAddress) -> IPAddress? {
        let source = UDPSocket.source(
            toward: SocketAddress(ip: destination, port: 9),
            mark: ProcessRights.mark
        )
        guard let source, source != TunnelAddresses.clientV4, source != TunnelAddresses.clientV6,
            !linkLocal.contains(source)
        else { return nil }
        return source
    }

    private static let linkLocal = IPNetwork(
        IPAddress(high: 0xfe80_0000_0000_0000, low: 0),
        prefixBitCount: 10
    )

    private static let privateNetworks = [
        "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
    ].compactMap { IPNetwork($0) }

    /// What happened lately, oldest first.
    public func events() async -> [EventReport] {
        eventRing.events
    }

    /// What happened lately, and what happens from now on.
    public func eventUpdates() async -> AsyncStream<EventReport> {
        eventRing.updates()
    }
}
