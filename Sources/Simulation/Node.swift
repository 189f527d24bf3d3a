import Base
import Tickets
import Wire

/// A relay or client of a world: its cores, and what drives them.
public class Node {
    /// Whether a node works.
    public enum Condition: Sendable {
        /// It works.
        case up
        /// It stands still; what arrives waits, up to a bound.
        case paused
        /// It is gone, with all it knew.
        case down
    }

    /// Its place among the world's nodes.
    public let index: Int
    unowned let world: World
    /// Whether it works.
    public internal(set) var condition = Condition.up
    /// How many times it began anew.
    public internal(set) var incarnation = 0
    /// How far its wall clock is ahead, in seconds; negative where it is behind.
    public var clockOffsetSeconds: Int64 = 0
    /// How far its clock is ahead beside that, in nanoseconds; negative where it is behind.
    public var clockSkewNanoseconds: Int64 = 0
    /// How much its clock gains in a second, in nanoseconds; negative where it loses.
    public var clockDriftNanoseconds: Int64 = 0
    /// Bytes its socket says to wait behind each batch; none wait of themselves in virtual time.
    public var queuedByteCount = 0
    /// Datagrams it sent.
    public internal(set) var sentDatagrams: UInt64 = 0
    /// Datagrams it received.
    public internal(set) var receivedDatagrams: UInt64 = 0

    /// Whether its disk takes nothing any more.
    public var hasFullDisk: Bool {
        get { disk.isFull }
        set { disk.isFull = newValue }
    }

    var disk = Disk()
    var backlog: [Delivery] = []
    var wakePlanned: Instant = .distantFuture
    private var workerFreeAt: Instant = .zero
    private var lastWake: Instant = .zero
    private var wakesAtInstant = 0
    private var wakeFloor: Instant = .zero

    static let backlogLimit = 256
    static let settleLimit = 1_000
    private static let wakeLimit = 20

    init(index: Int, world: World) {
        self.index = index
        self.world = world
    }

    var wall: WallTime {
        let seconds = Int64(world.wall.seconds) + clockOffsetSeconds
        return WallTime(seconds: UInt64(max(0, seconds)))
    }

    /// Civil time by its clock, in nanoseconds since 1970.
    var civilNanoseconds: UInt64 {
        let elapsed = world.report.elapsed.nanoseconds
        let gained = Int64(elapsed / 1_000_000) * clockDriftNanoseconds / 1_000
        let off = clockOffsetSeconds * 1_000_000_000 + clockSkewNanoseconds + gained
        return world.civilNanoseconds &+ UInt64(bitPattern: off)
    }

    /// What goes out in place of a datagram; `nil` for the datagram itself.
    func outgoing(_ bytes: [UInt8], to destination: SocketAddress) -> [[UInt8]]? { nil }

    /// Where it sends from; `nil` where it has no address of the family.
    func address(isV4: Bool) -> SocketAddress? { nil }

    final func addresses() -> [SocketAddress] {
        [address(isV4: true), address(isV4: false)].compactMap(\.self)
    }

    func receive(_ deliveries: ArraySlice<Delivery>) {}
    func wake() {}
    func finishJob() {}
    func openMailbox(isForControl: Bool, count: Int) {}
    func stored(_ number: UInt64, isDone: Bool) {}
    func answered(_ number: UInt64, _ reply: MintReply?) {}

    /// Does what a core asks of disk and mints; the outcome comes after its time.
    func run(_ errand: TicketErrand) {
        let settings = world.settings.pay ?? PaySettings()
        let began = incarnation
        switch errand {
        case .store(let number, let writes):
            world.at(world.now + settings.diskTime) { [unowned self] in
                guard incarnation == began, condition != .down else { return }
                stored(number, isDone: disk.apply(writes))
            }
        case .ask(let number, let mint, let request):
            world.at(world.now + settings.mintLatency) { [unowned self] in
                let reply = world.mints?.ask(Int(mint), request, at: world.wall)
                world.at(world.now + settings.mintLatency) { [unowned self] in
                    guard incarnation == began, condition != .down else { return }
                    answered(number, reply)
                }
            }
        }
    }

    /// When the result of a job begun now is there: one worker, in order.
    func planJob() {
        workerFreeAt = max(workerFreeAt, world.now) + world.settings.jobTime
        world.plan(.jobDone(node: index, incarnation: incarnation), at: workerFreeAt)
    }

    func planMailbox(isForControl: Bool, count: Int) {
        guard count > 0 else { return }
        world.plan(
            .mailbox(
                node: index,
                incarnation: incarnation,
                isForControl: isForControl,
                count: count
            ),
            at: world.now + world.settings.mailboxTime
        )
    }

    func planWake(at deadline: Instant) {
        guard deadline != .distantFuture, deadline < wakePlanned else { return }
        wakePlanned = max(deadline, world.now, wakeFloor)
        world.plan(.wake(node: index), at: wakePlanned)
    }

    /// Called before each wake: a core that wants to be woken again and again at one instant spins.
    func noteWake() {
        wakePlanned = .distantFuture
        wakesAtInstant = lastWake == world.now ? wakesAtInstant + 1 : 0
        lastWake = world.now
        if wakesAtInstant == Self.wakeLimit {
            world.checker.note("node \(index) spins: \(deadlines())")
        }
        // A core that spins must not stop virtual time.
        if wakesAtInstant >= Self.wakeLimit { wakeFloor = world.now + .milliseconds(1) }
    }

    func deadlines() -> String { "" }
}

/// A packet as it is read from a TUN device: offload header and packet.
struct TunInput {
    let bytes: [UInt8]
}
