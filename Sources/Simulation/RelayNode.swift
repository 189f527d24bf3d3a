import Base
import CryptoPrimitives
public import Directory
import Flows
import Links
public import RelayCore
import Tickets
import Wire

/// A relay of a world.
public final class RelayNode: Node {
    /// Its keys and addresses.
    public let member: RelayRoster.Member
    /// Its control plane.
    public private(set) var control: RelayControl {
        didSet { isControlDrained = false }
    }
    // Whether nothing was done with the control plane since its output was taken.
    private var isControlDrained = false
    private var controlDeadline: Instant = .zero
    /// Whether it acknowledges what asks for addresses, and gives none.
    public var givesNoAddresses = false
    /// As an exit, whether it takes pay and lets no packet out.
    public var dropsPackets = false
    /// As an exit, whether its resolver gives false addresses.
    public var liesInNames = false
    /// Cells of a paid circuit after which it destroys it; `nil` for never.
    public var destroysAfter: UInt64?
    /// How it breaks the schedule of `mix` circuits as their guard; `nil` where it keeps it.
    ///
    /// ``ScheduleFault/floods`` counts for circuits that are made later.
    public var scheduleFault: ScheduleFault?
    private var tamperedLine = TamperedLine()
    /// Circuits it destroyed so.
    public private(set) var destroyedCount = 0
    private var seats: [Seat]
    // Whose output lies in the arena, which all of them share here.
    private var busySeat = 0
    private let exit: ExitSettings?
    private var view: NetworkView
    private var outcomes: [RelayJob.Outcome] = []
    private var toControl: [(shard: Int, event: RelayEvent)] = []
    private var toShards: [Errand] = []
    // Cells of lives that ended.
    private var earlierCells: UInt64 = 0
    private var steered = 0

    /// One shard: its packet path.
    private final class Seat {
        var shard: RelayShard

        init(_ shard: consuming RelayShard) {
            self.shard = shard
        }
    }

    /// Something a shard's mailbox brings.
    private enum Errand {
        case command(RelayControl.ShardCommand)
        case handOver(HandOver)
    }

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
        control = Self.control(of: member, world: world, wall: world.wall, exit: exit, book: [])
        seats = Self.seats(world: world, exit: exit)
        super.init(index: index, world: world)
        control.setAuthorities(world.roster.authorityKeys)
        control.setView(view, now: world.now)
        settle()
    }

    private static func control(
        of member: RelayRoster.Member,
        world: World,
        wall: WallTime,
        exit: ExitSettings?,
        book records: [StoredRecord]
    ) -> RelayControl {
        let book: VoucherBook
        do throws(WireError) {
            book = try VoucherBook(records)
        } catch {
            preconditionFailure("a relay's book cannot be read: \(error)")
        }
        return RelayControl(
            identity: RelayControl.Identity(
                network: world.roster.network,
                signingKey: member.signingKey,
                circuitKeys: [member.circuitKey]
            ),
            families: RelayControl.Families(
                v4: world.settings.usesV4,
                v6: world.settings.usesV6
            ),
            shardCount: world.settings.shardCount,
            exit: exit,
            book: book,
            now: world.now,
            wall: wall,
            random: world.splitRandom()
        )
    }

    private static func seats(world: World, exit: ExitSettings?) -> [Seat] {
        let count = world.settings.shardCount
        return (0..<count).map { index in
            Seat(
                RelayShard(
                    timing: world.settings.timing,
                    circuitIdleLimit: world.settings.circuitIdleLimit,
                    position: ShardPosition(index: index, of: count),
                    exit: exit,
                    random: world.splitRandom(),
                    now: world.now
                )
            )
        }
    }

    private var nextDeadline: Instant {
        seats.reduce(controlDeadline) { min($0, $1.shard.nextDeadline) }
    }

    /// What all shards counted.
    public var counters: RelayCounters {
        seats.reduce(into: RelayCounters()) { $0.add($1.shard.counters) }
    }

    /// Cells that all shards passed on towards exits, took out, or passed on towards clients.
    public var carriedCells: [UInt64] {
        seats.map {
            $0.shard.counters.forwardCells + $0.shard.counters.deliveredCells
                + $0.shard.counters.backwardCells
        }
    }

    /// Those of all its lives together.
    public var lifetimeCells: UInt64 { earlierCells + carriedCells.reduce(0, +) }

    /// The relay gets to know a newer consensus.
    public func setView(_ view: NetworkView) {
        self.view = view
        control.setView(view, now: world.now)
        settle()
    }

    /// Ends all its circuits in order, as one does that is to be closed; it takes new ones.
    public func endCircuits() {
        control.endCircuits(now: world.now)
        settle()
    }

    /// Begins anew with the same keys and nothing else.
    func restart() {
        incarnation += 1
        earlierCells = lifetimeCells
        control = Self.control(
            of: member,
            world: world,
            wall: wall,
            exit: exit,
            book: disk.records
        )
        control.setAuthorities(world.roster.authorityKeys)
        seats = Self.seats(world: world, exit: exit)
        control.setView(view, now: world.now)
        outcomes = []
        toControl = []
        toShards = []
        wakePlanned = .distantFuture
        settle()
    }

    override func outgoing(_ bytes: [UInt8], to destination: SocketAddress) -> [[UInt8]]? {
        guard let scheduleFault, world.isClient(destination) else { return nil }
        return tamperedLine.pass(bytes, scheduleFault)
    }

    override func address(isV4: Bool) -> SocketAddress? {
        if isV4 { return world.settings.usesV4 ? member.v4 : nil }
        return world.settings.usesV6 ? member.v6 : nil
    }

    override func deadlines() -> String {
        "control \(controlDeadline.nanoseconds) in all \(nextDeadline.nanoseconds)"
    }

    override func receive(_ deliveries: ArraySlice<Delivery>) {
        for seat in seats {
            seat.shard.noteReceiveQueue(byteCount: queuedByteCount, now: world.now)
            seat.shard.setCivilTime(nanoseconds: civilNanoseconds, now: world.now)
        }
        world.place(deliveries) { run in
            // As the kernel steers: by the first datagram of what it merged into one message.
            let session: UInt32 = world.arena.withBytes { $0.bytes.loadBigEndian(at: run.offset) }
            let seat = seat(SessionID(rawValue: session)?.shard(of: seats.count) ?? 0)
            world.arena.withBytes { seat.shard.receive(&$0, run: run, now: world.now) }
        }
        settle()
    }

    func receiveFromTunnel(_ input: TunInput) {
        // The kernel guesses the queue; here it guesses wrong as often as it can.
        steered &+= 1
        receiveFromTunnel(input.bytes, by: seat(steered % seats.count))
        settle()
    }

    /// Shard `index`, with room in the arena for what it makes of one input.
    private func seat(_ index: Int) -> Seat {
        if index != busySeat || seats[index].shard.remainingCapacity < World.reserve {
            flush()
            busySeat = index
        }
        return seats[index]
    }

    private func receiveFromTunnel(_ packet: [UInt8], by seat: Seat) {
        world.arena.withBytes { bytes in
            bytes.copy(packet, to: ArenaLayout.tunnelInput.lowerBound)
            seat.shard.receiveFromTunnel(&bytes, byteCount: packet.count, now: world.now)
        }
    }

    override func wake() {
        noteWake()
        if controlDeadline <= world.now { control.advance(to: world.now, wall: wall) }
        for index in seats.indices {
            let seat = seat(index)
            seat.shard.setCivilTime(nanoseconds: civilNanoseconds, now: world.now)
            world.arena.withBytes { seat.shard.advance(to: world.now, bytes: &$0) }
        }
        settle()
    }

    override func stored(_ number: UInt64, isDone: Bool) {
        control.stored(number, isDone: isDone, now: world.now, wall: wall)
        settle()
    }

    override func answered(_ number: UInt64, _ reply: MintReply?) {
        control.answered(number, reply, now: world.now, wall: wall)
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
            for _ in 0..<min(count, toControl.count) {
                let (shard, event) = toControl.removeFirst()
                perform(event, of: shard)
            }
        } else {
            for _ in 0..<min(count, toShards.count) { perform(toShards.removeFirst()) }
        }
        settle()
    }

    /// Moves everything on that can be moved on now.
    func settle() {
        flush()
        for _ in 0..<Self.settleLimit {
            var events: [(shard: Int, event: RelayEvent)] = []
            var errands: [Errand] = []
            for (index, seat) in seats.enumerated() {
                events += seat.shard.takeEvents().map { (index, $0) }
                errands += seat.shard.takeHandOvers().map { .handOver($0) }
            }
            if world.settings.mailboxTime > .zero {
                toControl += events
                planMailbox(isForControl: true, count: events.count)
            } else {
                for (shard, event) in events { perform(event, of: shard) }
            }
            if !isControlDrained { drainControl(&errands) }
            if world.settings.mailboxTime > .zero {
                toShards += errands
                planMailbox(isForControl: false, count: errands.count)
            } else {
                for errand in errands { perform(errand) }
            }
            if events.isEmpty, errands.isEmpty {
                planWake(at: nextDeadline)
                return
            }
            flush()
        }
        world.checker.note("relay \(index) does not settle")
    }

    private func drainControl(_ errands: inout [Errand]) {
        while let command = control.nextCommand() { errands.append(.command(command)) }
        while let job = control.nextJob() {
            outcomes.append(job.run())
            planJob()
        }
        while let errand = control.nextErrand() { run(errand) }
        controlDeadline = control.nextDeadline
        isControlDrained = true
    }

    private func perform(_ event: RelayEvent, of shard: Int) {
        world.trace.add(1, UInt64(index), event.traceCode)
        control.receive(heard(event), from: shard, now: world.now, wall: wall)
        if let limit = destroysAfter, case .counted(let id, let counts) = event,
            counts.used >= limit
        {
            destroyedCount += 1
            control.receive(.idle(id), from: shard, now: world.now, wall: wall)
        }
    }

    /// The event as the control plane is to hear it.
    private func heard(_ event: RelayEvent) -> RelayEvent {
        guard givesNoAddresses, case .control(let id, let body, let isEarly) = event,
            var record = try? ControlRecord(parsing: body),
            case .openTunnel? = try? ControlMessage(
                type: record.type,
                parsing: record.message,
                fromClient: true
            )
        else { return event }
        let echo = ControlMessage.echo(isAnswer: false, nonce: 0)
        record.type = echo.type
        record.message = echo.encoded
        return .control(id, record.encoded, isEarly: isEarly)
    }

    private func perform(_ errand: Errand) {
        switch errand {
        case .command(let told):
            world.trace.add(2, UInt64(index), told.command.traceCode)
            let command = scheduleFault == .floods ? told.command.hurried : told.command
            let seat = seat(told.shard)
            world.arena.withBytes {
                seat.shard.perform(command, bytes: &$0, now: world.now)
            }
        case .handOver(let handOver):
            let seat = seat(handOver.shard)
            switch handOver.content {
            case .packet(let packet):
                receiveFromTunnel(packet, by: seat)
            case .datagram(let bytes, let source):
                // It takes the place of datagrams that may still have to leave.
                flush()
                let start = ArenaLayout.receive.lowerBound
                let run = DatagramRun(
                    source: source,
                    offset: start,
                    byteCount: bytes.count,
                    segmentByteCount: bytes.count
                )
                world.arena.withBytes {
                    $0.copy(bytes, to: start)
                    seat.shard.receive(&$0, run: run, now: world.now)
                }
            }
        }
    }

    /// Answers a question for a name as the exit's resolver does.
    private func answerName(_ packet: Packet) {
        guard packet.transport == .udp, packet.payload.count > 12 else { return }
        let question = packet.payload[12...]
        // An answer without error, to one question, with one address of four bytes.
        var payload = Array(packet.payload[..<2]) + [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
        let address = (InternetHost.address(false).v4 ?? 0) ^ (liesInNames ? 1 : 0)
        payload += question + [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]
        payload += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: address >> $0) }
        var answer = Packet(.udp, from: packet.destination, to: packet.source)
        answer.sourcePort = packet.destinationPort
        answer.destinationPort = packet.sourcePort
        answer.payload = payload
        world.enterExit(index, Offload.plain(answer.encoded))
    }

    private func flush() {
        let seat = seats[busySeat]
        world.arena.withBytes { seat.shard.finishBatch(&$0, now: world.now) }
        world.send(seat.shard.links.output.trains, from: self)
        if let list = seat.shard.tunnelWrites {
            for written in world.packets(of: list) {
                do throws(Offload.Fault) {
                    for packet in try Offload.split(written) where !dropsPackets {
                        guard packet.destination != AddressPair.Tunnel.resolver.v4 else {
                            answerName(packet)
                            continue
                        }
                        world.leaveExit(index, packet.encoded)
                    }
                } catch {
                    world.checker.note("the TUN device of exit \(index) was given \(error)")
                }
            }
        }
        seat.shard.clearOutput()
    }
}
