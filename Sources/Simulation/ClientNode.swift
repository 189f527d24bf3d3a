public import Base
public import Circuits
public import ClientCore
import CryptoPrimitives
public import Directory
import Flows
import Links
public import Paths
public import Tickets
public import Wire

/// A client of a world.
public final class ClientNode: Node {
    /// Its control plane.
    public internal(set) var control: ClientControl {
        didSet { isControlDrained = false }
    }
    // Whether nothing was done with the control plane since its output was taken.
    private var isControlDrained = false
    private var controlDeadline: Instant = .zero
    /// Its packet path.
    public private(set) var shard: ClientShard
    /// Where it sends from, IPv4.
    public private(set) var v4: SocketAddress
    /// Where it sends from, IPv6.
    public private(set) var v6: SocketAddress
    /// What is behind its TUN devices.
    public private(set) var hosts: [ClientHost] = []
    /// What its control plane told, with the time.
    public private(set) var notices: [(time: Instant, notice: ClientControl.Notice)] = []
    private let accountKey: Ed25519.SigningKey
    private let settings: ClientControl.Settings
    private var outcomes: [ClientJob.Outcome] = []
    private var toControl: [ClientEvent] = []
    private var toShard: [ClientCommand] = []

    /// Whether it keeps its money from now on, and uses its circuits all the same.
    public var stopsPaying = false

    /// Notices kept at most.
    public static let noticeLimit = 10_000

    init(
        index: Int,
        world: World,
        number: UInt32,
        view: NetworkView,
        settings: ClientControl.Settings
    ) {
        // 198.19.0.0/16 and 2001:db8:ffff::/48, where no relay is.
        v4 = SocketAddress(ip: IPAddress(v4: 0xc613_0000 + number), port: 50_000)
        v6 = SocketAddress(
            ip: IPAddress(high: 0x2001_0db8_ffff_0000, low: UInt64(number)),
            port: 50_000
        )
        self.settings = settings
        accountKey = Ed25519.SigningKey(seed: Self.accountSeed(number))
        let wallet = Self.wallet(accountKey, records: [], world: world)
        control = ClientControl(
            view: view,
            sharing: world.selector(excluding: settings.exclusions),
            settings: settings,
            wallet: wallet,
            now: world.now,
            wall: world.wall,
            random: world.splitRandom()
        )
        shard = ClientShard(
            timing: world.settings.timing,
            flowLimit: world.settings.clientFlowLimit,
            random: world.splitRandom(),
            now: world.now
        )
        super.init(index: index, world: world)
        if let pay = world.settings.pay {
            world.mints?.grant(pay.grantTicks, to: accountKey.publicKey, at: world.wall)
            settle()
        }
    }

    private static func accountSeed(_ number: UInt32) -> Secret {
        var bytes = [UInt8](repeating: 17, count: 32)
        for index in 0..<4 {
            bytes[index] = UInt8(truncatingIfNeeded: number >> (8 * UInt32(index)))
        }
        return Secret(copying: bytes)
    }

    private static func wallet(
        _ key: Ed25519.SigningKey,
        records: [StoredRecord],
        world: World
    ) -> Wallet? {
        guard world.settings.pay != nil else { return nil }
        do throws(WireError) {
            return try Wallet(
                network: world.roster.network,
                key: key,
                records: records,
                random: world.splitRandom()
            )
        } catch {
            preconditionFailure("a wallet cannot be read: \(error)")
        }
    }

    /// Begins anew with what is on its disk, and its guards; tunnels and circuits are gone.
    public func restart() {
        incarnation += 1
        let paths = control.paths
        let reputation: RelayReputation
        do throws(WireError) {
            reputation = try RelayReputation(disk.records)
        } catch {
            preconditionFailure("what it saw of relays cannot be read: \(error)")
        }
        control = ClientControl(
            view: world.view,
            guards: paths.guards,
            middles: paths.middles,
            settings: settings,
            wallet: Self.wallet(accountKey, records: disk.records, world: world),
            reputation: reputation,
            now: world.now,
            wall: wall,
            random: world.splitRandom()
        )
        shard = ClientShard(
            timing: world.settings.timing,
            flowLimit: world.settings.clientFlowLimit,
            random: world.splitRandom(),
            now: world.now
        )
        outcomes = []
        toControl = []
        toShard = []
        wakePlanned = .distantFuture
        settle()
    }

    /// Opens the tunnel whose circuit carries questions to mints and nothing else.
    public func openErrands() {
        control.openErrands(TunnelID(rawValue: 1_000), now: world.now, wall: wall)
        settle()
    }

    /// The name of its account.
    public var account: Bytes32 {
        accountKey.publicKey
    }

    /// Looks at its wallet.
    ///
    /// - Precondition: the world pays.
    public func wallet<R>(_ body: (inout Wallet) -> R) -> R {
        defer { settle() }
        guard let result = control.withWallet(now: world.now, wall: wall, body) else {
            preconditionFailure("the client has a wallet")
        }
        return result
    }

    override func stored(_ number: UInt64, isDone: Bool) {
        control.stored(number, isDone: isDone, now: world.now, wall: wall)
        settle()
    }

    override func answered(_ number: UInt64, _ reply: MintReply?) {
        control.answered(number, reply, now: world.now, wall: wall)
        settle()
    }

    /// Opens a tunnel with a TUN device of its own, whose traffic looks like `shape`.
    public func openTunnel(
        _ wanted: PathConstraints = PathConstraints(),
        shape: TrafficShape = .fast
    ) -> ClientHost {
        let tunnel = TunnelID(rawValue: UInt32(hosts.count + 1))
        let host = world.addHost { ClientHost(index: $0, world: world, node: self, tunnel: tunnel) }
        hosts.append(host)
        control.open(
            tunnel,
            wanting: wanted,
            shape: shape,
            offload: world.settings.usesOffload ? .tcpAndUDP : .none,
            now: world.now,
            wall: wall
        )
        settle()
        return host
    }

    /// Closes a tunnel.
    public func closeTunnel(_ host: ClientHost) {
        control.close(host.tunnel, now: world.now)
        settle()
    }

    /// The machine wakes from sleep.
    public func resume() {
        control.resume(now: world.now, wall: wall)
        settle()
    }

    /// Replaces the circuit of a tunnel's current lease.
    public func renew(_ host: ClientHost) {
        control.renew(host.tunnel, now: world.now)
        settle()
    }

    /// Measures the round trip to hop 1, 2 or 3; false where it cannot be asked.
    public func ping(_ circuit: CircuitID, hop: Int, token: UInt64 = 0) -> Bool {
        guard let hop = HopIndex(rawValue: UInt8(clamping: hop)) else { return false }
        defer { settle() }
        return control.ping(circuit, hop: hop, token: token, now: world.now)
    }

    /// Measures the round trip to an exit over a circuit of its own; a notice with `token` tells it.
    public func measure(exit: RelayNode, token: UInt64) {
        control.measure(exit: exit.member.id, token: token, now: world.now, wall: wall)
        settle()
    }

    /// The answer to the ping with `token`; `nil` before it is there.
    public func answer(to token: UInt64) -> (at: Instant, span: TimeSpan?)? {
        for (time, notice) in notices {
            if case .pong(token: token, _, let span) = notice { return (time, span) }
        }
        return nil
    }

    /// Sends a CREATE over the link to `relay`, behind the control plane's back.
    func create(_ body: [UInt8], _ number: CircuitNumber, at relay: RelayNode) {
        guard let link = control.link(to: relay.member.id) else { return }
        perform(.sendCell(link, number, .create, body))
        settle()
    }

    /// Gets to know a newer consensus.
    public func setView(_ view: NetworkView) {
        control.setView(view, now: world.now, wall: wall)
        settle()
    }

    /// Sends from another address from now on; what is on the way to the old one is lost.
    public func roam(to address: SocketAddress) {
        world.forget(addresses())
        if address.ip.isV4 { v4 = address } else { v6 = address }
        world.learn(addresses(), of: index)
    }

    /// Whether a tunnel is connected, and its packet path has heard of it.
    ///
    /// What is sent before that has no circuit to go by: it is dropped and counted as blocked.
    public func isConnected(_ host: ClientHost) -> Bool {
        let isOnItsWay = toShard.contains { command in
            switch command {
            case .bind(_, host.tunnel, _), .setCurrent(host.tunnel, _): true
            default: false
            }
        }
        return control.state(of: host.tunnel) == .connected && !isOnItsWay
    }

    /// The relays of the circuit new flows of a tunnel begin on, the guard first.
    public func currentPath(of host: ClientHost) -> [RelayNode] {
        path { $0.tunnel == host.tunnel && $0.isCurrent }
    }

    /// The relays of the circuit that stands ready for a tunnel.
    public func sparePath(of host: ClientHost) -> [RelayNode] {
        path { $0.tunnel == host.tunnel && $0.stage == .spare }
    }

    /// What the circuit that new flows of a tunnel begin on has carried; `nil` where there is none.
    public func traffic(of host: ClientHost) -> CircuitTraffic? {
        let reports = control.circuitReports()
        guard let report = reports.first(where: { $0.tunnel == host.tunnel && $0.isCurrent })
        else { return nil }
        return shard.traffic(of: report.id)
    }

    private func path(where condition: (ClientControl.CircuitReport) -> Bool) -> [RelayNode] {
        guard let report = control.circuitReports().first(where: condition) else { return [] }
        return report.hops.compactMap { hop in world.relays.first { $0.member.id == hop.id } }
    }

    /// What its tunnels went through, for the messages of tests that fail.
    public var history: String {
        notices.compactMap { time, notice in
            guard case .tunnel(let id, let state) = notice else { return nil }
            let seconds = TimeSpan(nanoseconds: time.nanoseconds).seconds
            return "\n\(seconds) s: tunnel \(id.rawValue) \(state)"
        }.joined()
    }

    override func address(isV4: Bool) -> SocketAddress? {
        if isV4 { return world.settings.usesV4 ? v4 : nil }
        return world.settings.usesV6 ? v6 : nil
    }

    override func deadlines() -> String {
        "control \(controlDeadline.nanoseconds) shard \(shard.nextDeadline.nanoseconds)"
    }

    override func receive(_ deliveries: ArraySlice<Delivery>) {
        shard.noteReceiveQueue(byteCount: queuedByteCount)
        shard.setCivilTime(nanoseconds: civilNanoseconds, now: world.now)
        world.place(deliveries) { run in
            if shard.remainingCapacity < World.reserve { flush() }
            world.arena.withBytes { shard.receive(&$0, run: run, now: world.now) }
        }
        settle()
    }

    func write(_ inputs: [TunInput], tunnel: TunnelID) {
        guard condition == .up, !inputs.isEmpty else { return }
        for input in inputs {
            if shard.remainingCapacity < World.reserve { flush() }
            world.report.tunnelPackets += 1
            world.arena.withBytes { bytes in
                bytes.copy(input.bytes, to: ArenaLayout.tunnelInput.lowerBound)
                shard.receiveFromTunnel(
                    &bytes,
                    tunnel: tunnel,
                    byteCount: input.bytes.count,
                    now: world.now
                )
            }
        }
        settle()
    }

    override func wake() {
        noteWake()
        if controlDeadline <= world.now { control.advance(to: world.now, wall: wall) }
        shard.setCivilTime(nanoseconds: civilNanoseconds, now: world.now)
        world.arena.withBytes { shard.advance(to: world.now, bytes: &$0) }
        settle()
    }

    override func finishJob() {
        guard !outcomes.isEmpty else { return }
        let outcome = outcomes.removeFirst()
        world.trace.add(3, UInt64(index), outcome.traceCode)
        control.finish(outcome, now: world.now, wall: wall)
        settle()
    }

    override func openMailbox(isForControl: Bool, count: Int) {
        if isForControl {
            for _ in 0..<min(count, toControl.count) { perform(toControl.removeFirst()) }
        } else {
            for _ in 0..<min(count, toShard.count) { perform(toShard.removeFirst()) }
        }
        settle()
    }

    func settle() {
        flush()
        for _ in 0..<Self.settleLimit {
            let events = shard.takeEvents()
            var commands: [ClientCommand] = []
            if world.settings.mailboxTime > .zero {
                toControl += events
                planMailbox(isForControl: true, count: events.count)
            } else {
                for event in events { perform(event) }
            }
            if !isControlDrained { drainControl(&commands) }
            if world.settings.mailboxTime > .zero {
                toShard += commands
                planMailbox(isForControl: false, count: commands.count)
            } else {
                for command in commands { perform(command) }
            }
            if events.isEmpty, commands.isEmpty {
                planWake(at: min(controlDeadline, shard.nextDeadline))
                return
            }
            flush()
        }
        world.checker.note("client \(index) does not settle")
    }

    private func drainControl(_ commands: inout [ClientCommand]) {
        while let command = control.nextCommand() { commands.append(command) }
        while let job = control.nextJob() {
            outcomes.append(job.run())
            planJob()
        }
        while let errand = control.nextErrand() { run(errand) }
        while let notice = control.nextNotice() {
            guard notices.count < Self.noticeLimit else { continue }
            notices.append((world.now, notice))
        }
        controlDeadline = control.nextDeadline
        isControlDrained = true
    }

    private func perform(_ event: ClientEvent) {
        world.trace.add(1, UInt64(index), event.traceCode)
        control.receive(event, now: world.now, wall: wall)
    }

    private func perform(_ command: ClientCommand) {
        world.trace.add(2, UInt64(index), command.traceCode)
        let command = stopsPaying ? Self.withoutPay(command) : command
        if shard.remainingCapacity < World.reserve { flush() }
        world.arena.withBytes { shard.perform(command, bytes: &$0, now: world.now) }
    }

    /// The command with an echo in the place of pay.
    private static func withoutPay(_ command: ClientCommand) -> ClientCommand {
        guard case .sendControl(let id, let hop, let body) = command,
            var record = try? ControlRecord(parsing: body), (3...5).contains(record.type)
        else { return command }
        let echo = ControlMessage.echo(isAnswer: false, nonce: 0)
        record.type = echo.type
        record.goesOn = false
        record.message = echo.encoded
        return .sendControl(id, hop, record.encoded)
    }

    private func flush() {
        world.arena.withBytes { shard.finishBatch(&$0, now: world.now) }
        world.send(shard.links.output.trains, from: self)
        var received: [(host: ClientHost, written: [UInt8])] = []
        for host in hosts {
            guard let list = shard.tunnelWrites(of: host.tunnel) else { continue }
            for written in world.packets(of: list) { received.append((host, written)) }
        }
        shard.clearOutput()
        // Hosts answer at once, which calls back into this node: only after its output is clear.
        for (host, written) in received {
            world.later { host.receive(written) }
        }
    }
}
