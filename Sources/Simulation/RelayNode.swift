import Base
import CryptoPrimitives
public import Directory
import Flows
import Links
public import RelayCore
import Wire

/// A relay of a world.
public final class RelayNode: Node {
    /// Its keys and addresses.
    public let member: RelayRoster.Member
    /// Its control plane.
    public private(set) var control: RelayControl
    /// Its packet path.
    public private(set) var shard: RelayShard
    /// Whether it acknowledges what asks for addresses, and gives none.
    public var givesNoAddresses = false
    private let exit: ExitSettings?
    private var view: NetworkView
    private var outcomes: [RelayJob.Outcome] = []
    private var toControl: [RelayEvent] = []
    private var toShard: [RelayCommand] = []
    private var tunnelInput: [TunInput] = []

    init(
        index: Int,
        world: World,
        member: RelayRoster.Member,
        view: NetworkView,
        exit: ExitSettings?
    ) {
        self.member = member
        self.view = view
        self.exit = exit
        control = Self.control(of: member, world: world, wall: world.wall)
        shard = Self.shard(world: world, exit: exit)
        super.init(index: index, world: world)
        control.setView(view)
        planWake(at: min(control.nextDeadline, shard.nextDeadline))
    }

    private static func control(
        of member: RelayRoster.Member,
        world: World,
        wall: WallTime
    ) -> RelayControl {
        RelayControl(
            identity: RelayControl.Identity(
                network: world.roster.network,
                signingKey: member.signingKey,
                circuitKeys: [member.circuitKey]
            ),
            families: RelayControl.Families(
                v4: world.settings.usesV4,
                v6: world.settings.usesV6
            ),
            now: world.now,
            wall: wall,
            random: world.splitRandom()
        )
    }

    private static func shard(world: World, exit: ExitSettings?) -> RelayShard {
        RelayShard(
            timing: world.settings.timing,
            circuitIdleLimit: world.settings.circuitIdleLimit,
            exit: exit,
            random: world.splitRandom(),
            now: world.now
        )
    }

    /// The relay gets to know a newer consensus.
    public func setView(_ view: NetworkView) {
        self.view = view
        control.setView(view)
        settle()
    }

    /// Begins anew with the same keys and nothing else.
    func restart() {
        incarnation += 1
        control = Self.control(of: member, world: world, wall: wall)
        shard = Self.shard(world: world, exit: exit)
        control.setView(view)
        outcomes = []
        toControl = []
        toShard = []
        tunnelInput = []
        wakePlanned = .distantFuture
        planWake(at: min(control.nextDeadline, shard.nextDeadline))
    }

    override func addresses() -> [SocketAddress] {
        [world.settings.usesV4 ? member.v4 : nil, world.settings.usesV6 ? member.v6 : nil]
            .compactMap(\.self)
    }

    override func deadlines() -> String {
        "control \(control.nextDeadline.nanoseconds) shard \(shard.nextDeadline.nanoseconds)"
    }

    override func receive(_ deliveries: ArraySlice<Delivery>) {
        shard.noteReceiveQueue(byteCount: queuedByteCount)
        world.place(deliveries) { run in
            if shard.remainingCapacity < World.reserve { flush() }
            world.arena.withBytes { shard.receive(&$0, run: run, now: world.now) }
        }
        settle()
    }

    func receiveFromTunnel(_ input: TunInput) {
        if shard.remainingCapacity < World.reserve { flush() }
        world.arena.withBytes { bytes in
            bytes.copy(input.bytes, to: ArenaLayout.tunnelInput.lowerBound)
            shard.receiveFromTunnel(&bytes, byteCount: input.bytes.count, now: world.now)
        }
        settle()
    }

    override func wake() {
        noteWake()
        control.advance(to: world.now)
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

    /// Moves everything on that can be moved on now.
    func settle() {
        flush()
        for _ in 0..<Self.settleLimit {
            let events = shard.takeEvents()
            var commands: [RelayCommand] = []
            if world.settings.mailboxTime > .zero {
                toControl += events
                planMailbox(isForControl: true, count: events.count)
            } else {
                for event in events { perform(event) }
            }
            while let command = control.nextCommand() { commands.append(command) }
            while let job = control.nextJob() {
                outcomes.append(job.run())
                planJob()
            }
            if world.settings.mailboxTime > .zero {
                toShard += commands
                planMailbox(isForControl: false, count: commands.count)
            } else {
                for command in commands { perform(command) }
            }
            flush()
            if events.isEmpty, commands.isEmpty {
                planWake(at: min(control.nextDeadline, shard.nextDeadline))
                return
            }
        }
        world.checker.note("relay \(index) does not settle")
    }

    private func perform(_ event: RelayEvent) {
        if givesNoAddresses, case .tunnelOpened = event { return }
        world.trace.add(1, UInt64(index), event.traceCode)
        control.receive(event, now: world.now, wall: wall)
    }

    private func perform(_ command: RelayCommand) {
        world.trace.add(2, UInt64(index), command.traceCode)
        if shard.remainingCapacity < World.reserve { flush() }
        world.arena.withBytes { shard.perform(command, bytes: &$0, now: world.now) }
    }

    private func flush() {
        world.arena.withBytes { shard.finishBatch(&$0, now: world.now) }
        world.send(shard.links.output.trains, from: self)
        if let list = shard.tunnelWrites {
            for written in world.packets(of: list) {
                do throws(Offload.Fault) {
                    for packet in try Offload.split(written) {
                        world.leaveExit(index, packet.encoded)
                    }
                } catch {
                    world.checker.note("the TUN device of exit \(index) was given \(error)")
                }
            }
        }
        shard.clearOutput()
    }
}
