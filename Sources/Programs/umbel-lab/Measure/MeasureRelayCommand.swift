import ArgumentParser
import Base
import Circuits
import CryptoPrimitives
import EventLoop
import Links
import Onion
import RelayCore
import Wire

/// `umbel-lab measure relay`: cells a second through the packet path of one middle relay.
struct MeasureRelayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Cells a second one relay's packet path passes on, each way."
    )

    @Option(help: "Cells in each run and direction.")
    var cells = 60_000
    @Flag(help: "Allocate once for each cell, to show that a counter of allocations counts.")
    var allocating = false
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1_000...500_000).contains(cells), (1...100).contains(options.runs) else {
            throw ValidationError("--cells is 1000 to 500000, --runs 1 to 100")
        }
    }

    func run() throws {
        var forward: [Double] = []
        var backward: [Double] = []
        for run in 0..<options.runs {
            let bench = RelayBench(seed: UInt8(truncatingIfNeeded: run))
            let (forwardRate, backwardRate) = bench.measure(cells: cells, isAllocating: allocating)
            forward.append(forwardRate)
            backward.append(backwardRate)
        }
        try Measurement.show(
            [
                Measurement("relay, forward", unit: "cells/s", forward),
                Measurement("relay, backward", unit: "cells/s", backward),
            ],
            options
        )
    }
}

/// A middle relay between two neighbours that make cells for it.
struct RelayBench: ~Copyable {
    private static let batchCells = 4 * 47
    private static let previousAddress = SocketAddress(ip: IPAddress(v4: 0xc000_0201), port: 1)
    private static let nextAddress = SocketAddress(ip: IPAddress(v4: 0xc000_0202), port: 1)

    private var shard: RelayShard
    private var previous: LinkTable
    private var next: LinkTable
    private var sealer: LayerSealer
    private let number = CircuitNumber(rawValue: 1 << 31 | 7)
    private let nextNumber = CircuitNumber(rawValue: 9)

    /// Sets up links and the circuit.
    init(seed: UInt8) {
        var random = RandomGenerator(
            seed: Secret(copying: [UInt8](repeating: seed, count: 32))
        )
        let now = Instant(nanoseconds: 1)
        var shard = RelayShard(exit: nil, random: random.split(), now: now)
        var previous = Self.table(random.split())
        var next = Self.table(random.split())
        var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        let links = [
            (LinkID(rawValue: 1), Self.previousAddress), (LinkID(rawValue: 2), Self.nextAddress),
        ]
        for (index, (id, address)) in links.enumerated() {
            let pair = Self.sessions(UInt32(index), random: &random)
            shard.perform(
                .addLink(Self.link(id, address, pair.near)),
                bytes: &bytes,
                now: now
            )
            let far = Self.link(id, address, pair.far)
            _ = index == 0 ? previous.add(far, now: now) : next.add(far, now: now)
        }
        let forward = random.secret(byteCount: 32)
        let keys = HandshakeKeys(
            forward: forward,
            backward: random.secret(byteCount: 32),
            exporter: random.secret(byteCount: 32),
            transcript: .zero
        )
        sealer = LayerSealer(key: forward, epoch: 1, start: 0)
        // CREATE makes the place, the control plane's answer the circuit.
        Self.sendCreate(number, from: &previous, to: &shard, bytes: &bytes, now: now)
        shard.perform(
            .installCircuit(
                NewRelayCircuit(
                    id: CircuitID(rawValue: 1),
                    link: links[0].0,
                    number: number,
                    hop: .second,
                    early: nil,
                    keys: keys,
                    start: 0
                )
            ),
            bytes: &bytes,
            now: now
        )
        shard.perform(
            .setNext(CircuitID(rawValue: 1), links[1].0, nextNumber),
            bytes: &bytes,
            now: now
        )
        shard.clearOutput()
        self.shard = shard
        self.previous = previous
        self.next = next
    }

    /// Cells a second forward and backward; only the shard's own time counts.
    consuming func measure(
        cells: Int,
        isAllocating: Bool
    ) -> (forward: Double, backward: Double) {
        (
            rate(cells, isForward: true, isAllocating: isAllocating),
            rate(cells, isForward: false, isAllocating: isAllocating)
        )
    }

    private mutating func rate(_ cells: Int, isForward: Bool, isAllocating: Bool) -> Double {
        var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        var passed = 0
        var spent: UInt64 = 0
        while passed < cells {
            make(&bytes, isForward: isForward)
            let begun = MonotonicClock.now()
            for slot in 0..<ArenaLayout.receiveSlotCount {
                shard.receive(
                    &bytes,
                    run: DatagramRun(
                        source: isForward ? Self.previousAddress : Self.nextAddress,
                        offset: slot * ArenaLayout.receiveSlotByteCount,
                        byteCount: Self.batchCells / 4 * Datagram.byteCount,
                        segmentByteCount: Datagram.byteCount
                    ),
                    now: begun
                )
            }
            shard.finishBatch(&bytes, now: begun)
            spent += (MonotonicClock.now() - begun).nanoseconds
            if isAllocating { allocate(shard.links.output.count) }
            passed += shard.links.output.count
            precondition(
                shard.links.output.count == Self.batchCells,
                "the relay dropped cells it should pass on"
            )
            shard.clearOutput()
        }
        return Double(passed) / (Double(spent) / 1e9)
    }

    private func allocate(_ count: Int) {
        for _ in 0..<count {
            unsafe UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 16).deallocate()
        }
    }

    /// Lays a batch of cells out as the receive slots of a socket would hold it.
    private mutating func make(_ bytes: inout MutableRawSpan, isForward: Bool) {
        let now = MonotonicClock.now()
        for index in 0..<Self.batchCells {
            let perSlot = Self.batchCells / ArenaLayout.receiveSlotCount
            let datagram =
                index / perSlot * ArenaLayout.receiveSlotByteCount
                + index % perSlot * Datagram.byteCount
            if isForward {
                let counter = sealer.seal(
                    &bytes,
                    layerAt: datagram + Datagram.bodyOffset,
                    hop: .second,
                    header: LayerHeader(command: .forward, nextCounter: 1)
                )
                let header = LinkHeader(
                    circuit: number,
                    counter: counter.rawValue,
                    command: .forward
                )
                _ = previous.send(&bytes, datagram: datagram, link: 0, header: header, now: now)
            } else {
                let header = LinkHeader(circuit: nextNumber, counter: 1, command: .backward)
                _ = next.send(&bytes, datagram: datagram, link: 0, header: header, now: now)
            }
        }
        previous.output.clear()
        next.output.clear()
    }

    // MARK: Setting up

    private static func table(_ random: consuming RandomGenerator) -> LinkTable {
        LinkTable(linkLimit: 1, generated: ArenaLayout.generated, random: random)
    }

    private static func sessions(
        _ index: UInt32,
        random: inout RandomGenerator
    ) -> (near: NewSession, far: NewSession) {
        let forward = random.secret(byteCount: 32)
        let backward = random.secret(byteCount: 32)
        let exporter = random.secret(byteCount: 32)
        guard let near = SessionID(rawValue: 100 + index),
            let far = SessionID(rawValue: 200 + index)
        else { preconditionFailure("session numbers are not zero") }
        func keys(_ isInitiator: Bool) -> SessionKeys {
            SessionKeys(
                forward: forward,
                backward: backward,
                exporter: exporter,
                isInitiator: isInitiator
            )
        }
        return (
            NewSession(local: near, remote: far, keys: keys(false), isConfirmed: true),
            NewSession(local: far, remote: near, keys: keys(true), isConfirmed: true)
        )
    }

    private static func link(
        _ id: LinkID,
        _ address: SocketAddress,
        _ session: NewSession
    ) -> NewLink {
        NewLink(
            id: id,
            address: address,
            peer: .relay(NodeID(.zero)),
            isInitiator: false,
            session: session
        )
    }

    private static func sendCreate(
        _ number: CircuitNumber,
        from table: inout LinkTable,
        to shard: inout RelayShard,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        _ = table.sendSealed(
            &bytes,
            link: 0,
            header: LinkHeader(circuit: number, command: .create),
            body: [UInt8](repeating: 0, count: CreateBody.circuitByteCount),
            now: now
        )
        bytes.move(
            ArenaLayout.generated.lowerBound..<ArenaLayout.generated.lowerBound
                + Datagram.byteCount,
            to: 0
        )
        table.output.clear()
        shard.receive(
            &bytes,
            run: DatagramRun(
                source: previousAddress,
                offset: 0,
                byteCount: Datagram.byteCount,
                segmentByteCount: Datagram.byteCount
            ),
            now: now
        )
    }
}
