import Base
import CryptoPrimitives
import Links
import Wire

extension FuzzTarget {
    /// A table of links that takes a sequence of datagrams: true ones, late ones, changed ones and
    /// noise, while time passes.
    ///
    /// Each byte of input is an operation, some take more. The promises: no number counts twice, a
    /// changed datagram never counts, and the table's links and queues stay within bounds.
    public static let linkTable = FuzzTarget("link-table") { bytes in
        var scene = LinkScene()
        var input = bytes[...]
        while let operation = input.popFirst() {
            switch operation & 7 {
            case 0: scene.make(.create)
            case 1: scene.make(.forward)
            case 2: scene.make(.linkControl)
            case 3: scene.deliver(Int(input.popFirst() ?? 0))
            case 4: scene.deliverChanged(Int(input.popFirst() ?? 0), Int(input.popFirst() ?? 0))
            case 5: scene.deliverNoise(Array(input.prefix(40)))
            case 6: scene.wait(.milliseconds(UInt64(input.popFirst() ?? 0) * 20))
            default: scene.drain()
            }
        }
        scene.drain()
    }
}

/// Two tables that share keys; what the first makes may reach the second in any order.
private struct LinkScene: ~Copyable {
    private static let limit = 64

    private var sender: LinkTable
    private var receiver: LinkTable
    private let arena = [UInt8](repeating: 0, count: 65 * Datagram.byteCount)
    private var made: [[UInt8]] = []
    private var counted: Set<Int> = []
    private var now = Instant.zero + .seconds(10)
    private let address = SocketAddress(ip: IPAddress(v4: 0x0a00_0001), port: 1)

    init() {
        let region = Datagram.byteCount..<65 * Datagram.byteCount
        sender = LinkTable(
            linkLimit: 2,
            generated: region,
            random: RandomGenerator(testSeed: 1)
        )
        receiver = LinkTable(
            linkLimit: 2,
            generated: region,
            random: RandomGenerator(testSeed: 2)
        )
        for isInitiator in [true, false] {
            guard let own = SessionID(rawValue: isInitiator ? 0x0101_0101 : 0x0202_0202),
                let other = SessionID(rawValue: isInitiator ? 0x0202_0202 : 0x0101_0101)
            else { return }
            let link = NewLink(
                id: LinkID(rawValue: 1),
                address: address,
                peer: .client,
                isInitiator: isInitiator,
                session: NewSession(
                    local: own,
                    remote: other,
                    keys: SessionKeys(
                        forward: .numbered(1),
                        backward: .numbered(2),
                        exporter: .numbered(3),
                        isInitiator: isInitiator
                    ),
                    isConfirmed: isInitiator
                )
            )
            let isAdded =
                isInitiator
                ? sender.add(link, now: now) : receiver.add(link, now: now)
            precondition(isAdded, "an empty table takes a link")
        }
    }

    mutating func make(_ command: CellCommand) {
        guard made.count < Self.limit, let slot = sender.slot(of: LinkID(rawValue: 1)) else {
            return
        }
        var bytes = arena
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        if command == .linkControl {
            let ping = LinkControlMessage.ping(nonce: UInt64(made.count))
            _ = sender.sendControl(ping, link: slot, bytes: &span, now: now)
        } else if command.sealsBody {
            _ = sender.sendSealed(
                &span,
                link: slot,
                header: LinkHeader(circuit: CircuitNumber(rawValue: 1), command: command),
                body: [UInt8](repeating: 7, count: 50),
                now: now
            )
        } else if let place = sender.output.allocate() {
            _ = sender.send(
                &span,
                datagram: place,
                link: slot,
                header: LinkHeader(circuit: CircuitNumber(rawValue: 1), command: command),
                now: now
            )
        }
        sender.output.makeTrains()
        for offset in sender.output.trains.offsets {
            made.append(Array(bytes[Int(offset)..<Int(offset) + Datagram.byteCount]))
        }
        sender.output.clear()
    }

    mutating func deliver(_ choice: Int) {
        guard !made.isEmpty else { return }
        let index = choice % made.count
        let opened = open(made[index])
        switch opened {
        case .cell, .consumed:
            precondition(counted.insert(index).inserted, "a datagram counted twice")
        case .dropped, .handshake: break
        }
    }

    mutating func deliverChanged(_ choice: Int, _ place: Int) {
        guard !made.isEmpty else { return }
        var bytes = made[choice % made.count]
        // The part of every datagram the link authenticates.
        bytes[place % Datagram.bodyOffset] ^= UInt8(1 << (choice & 7))
        guard bytes[0..<4] != [0, 0, 0, 0] else { return }
        guard case .dropped = open(bytes) else {
            preconditionFailure("a changed datagram counted")
        }
    }

    mutating func deliverNoise(_ front: [UInt8]) {
        let bytes = front + [UInt8](repeating: 0x5a, count: Datagram.byteCount - front.count)
        guard !made.contains(bytes) else { return }
        switch open(bytes) {
        case .dropped, .handshake: break
        case .cell, .consumed: preconditionFailure("noise counted")
        }
    }

    mutating func wait(_ span: TimeSpan) {
        now = now + span
        var copy = arena
        var elements = copy.mutableSpan
        var bytes = elements.mutableBytes
        receiver.advance(to: now, bytes: &bytes)
        precondition(receiver.nextDeadline > now, "a deadline that has passed")
    }

    mutating func drain() {
        var count = 0
        while receiver.nextEvent() != nil { count += 1 }
        precondition(count <= 600, "more events than datagrams")
        precondition(receiver.count <= 1, "a link out of nowhere")
        receiver.output.clear()
    }

    private mutating func open(_ datagram: [UInt8]) -> LinkTable.Opened {
        var copy = arena
        copy.replaceSubrange(0..<Datagram.byteCount, with: datagram)
        var elements = copy.mutableSpan
        var span = elements.mutableBytes
        return receiver.open(&span, datagram: 0, source: address, now: now)
    }
}
