import Base
public import ClientCore
import CryptoPrimitives
import Directory
import Flows
import Links
import Wire

/// An authority's prober in a world: it looks for relays, and measures them.
public final class ProbeNode: Node {
    /// Its control plane.
    private var control: ProbeControl
    /// Its packet path.
    public private(set) var shard: ClientShard
    /// How its probes went, by the name they were given.
    public private(set) var outcomes: [UInt64: ProbeControl.Outcome] = [:]
    private let address: SocketAddress
    private var nextToken: UInt64 = 1

    override init(index: Int, world: World) {
        // 198.19.255.0/24.
        address = SocketAddress(ip: IPAddress(v4: 0xc613_ff01), port: 50_001)
        control = ProbeControl(
            network: world.view.network,
            authority: ProbeControl.Authority(index: 0, key: world.roster.authorities[0]),
            random: world.splitRandom()
        )
        shard = ClientShard(
            timing: world.settings.timing,
            random: world.splitRandom(),
            now: world.now
        )
        super.init(index: index, world: world)
    }

    /// Begins a probe over `relays`; gives the name of its outcome.
    ///
    /// - Precondition: the view lists them.
    public func probe(
        _ relays: [RelayNode],
        measuring measurement: ProbeControl.Measurement? = nil
    ) -> UInt64 {
        let path = relays.map { relay in
            guard let record = world.view.relay(relay.member.id),
                let address = record.addresses.v4
            else { preconditionFailure("the view lists the relay") }
            return ProbeControl.Target(
                relay: record.id,
                address: address,
                circuitKey: record.circuitKey
            )
        }
        let token = nextToken
        nextToken += 1
        control.begin(
            ProbeControl.Plan(
                path: path,
                measurement: measurement,
                showsPass: world.settings.pay != nil
            ),
            token: token,
            now: world.now,
            minute: wall.minute
        )
        settle()
        return token
    }

    override func address(isV4: Bool) -> SocketAddress? {
        isV4 ? address : nil
    }

    override func deadlines() -> String {
        "control \(control.nextDeadline.nanoseconds) shard \(shard.nextDeadline.nanoseconds)"
    }

    override func receive(_ deliveries: ArraySlice<Delivery>) {
        world.place(deliveries) { run in
            if shard.remainingCapacity < World.reserve { flush() }
            world.arena.withBytes { shard.receive(&$0, run: run, now: world.now) }
        }
        settle()
    }

    override func wake() {
        noteWake()
        control.advance(to: world.now)
        world.arena.withBytes { shard.advance(to: world.now, bytes: &$0) }
        settle()
    }

    private func settle() {
        flush()
        for _ in 0..<Self.settleLimit {
            let events = shard.takeEvents()
            for event in events {
                world.trace.add(1, UInt64(index), event.traceCode)
                control.receive(event, now: world.now)
            }
            var isDone = events.isEmpty
            while let command = control.nextCommand() {
                isDone = false
                world.trace.add(2, UInt64(index), command.traceCode)
                if shard.remainingCapacity < World.reserve { flush() }
                world.arena.withBytes { shard.perform(command, bytes: &$0, now: world.now) }
            }
            while let outcome = control.nextResult() { outcomes[outcome.token] = outcome }
            flush()
            if isDone {
                planWake(at: min(control.nextDeadline, shard.nextDeadline))
                return
            }
        }
        world.checker.note("prober \(index) does not settle")
    }

    private func flush() {
        world.arena.withBytes { shard.finishBatch(&$0, now: world.now) }
        world.send(shard.links.output.trains, from: self)
        shard.clearOutput()
    }
}
