public import Base
import CLinux
public import EventLoop
import Glibc

/// A UDP socket that talks to many peers, in batches.
///
/// Never blocks on receiving; sending waits at most once a call, see ``send(_:from:now:)``.
/// Datagrams go without "don't fragment": routers and the kernel may cut them. Link-local IPv6
/// peers are not served, for an address carries no interface here. Owned by one thread.
public struct UDPSocket: ~Copyable, Sendable {
    /// Bytes of a slot: room for the largest message GRO makes.
    public static let slotByteCount = 65_536

    /// The address bound, with the port the kernel chose for port 0.
    public let localAddress: SocketAddress
    /// Whether GSO and GRO are in use: asked for, and known to the kernel.
    public let segments: Bool
    /// What it did so far.
    public private(set) var counters = UDPCounters()

    private static let largestMessageByteCount = 65_507
    private static let segmentLimit = 64
    private static let sendMessageCapacity = 64

    private let owned: OwnedDescriptor
    private let isV6: Bool
    private let sendWaitLimit: TimeSpan
    private var receiveBatch: MessageBatch
    private var trainQueue: SendQueue
    private var singleQueue: SendQueue
    private var refusals = SegmentationRefusals()

    /// Opens a socket and binds it to `address`; port 0 lets the kernel choose.
    ///
    /// An IPv4 address makes an IPv4 socket, `::` one that serves both families.
    /// - Throws: ``IOError`` with a hint: the port is in use, the address is not this machine's,
    ///   a privilege is missing.
    public init(bindingTo address: SocketAddress, options: UDPOptions) throws(IOError) {
        let isV6 = !address.ip.isV4
        let messageCount = min(max(options.receiveMessageCount, 1), 256)
        let receiveBatch = try MessageBatch(
            messageCapacity: messageCount,
            pieceCapacity: messageCount
        )
        let trainQueue = try SendQueue(
            messageCapacity: Self.sendMessageCapacity,
            pieceCapacity: Self.sendMessageCapacity * Self.segmentLimit
        )
        let singleQueue = try SendQueue(
            messageCapacity: Self.sendMessageCapacity,
            pieceCapacity: Self.sendMessageCapacity
        )
        let owned = try OwnedDescriptor(
            clinux_udp_create(isV6, options.isV6Only),
            "open UDP socket for",
            "\(address)"
        )
        let fd = owned.number
        try Self.configure(fd, address, options)
        localAddress = try Self.bind(fd, address)
        segments = options.segments && clinux_udp_set_segmentation(fd) == 0
        self.isV6 = isV6
        sendWaitLimit = options.sendWaitLimit
        self.owned = owned
        self.receiveBatch = receiveBatch
        self.trainQueue = trainQueue
        self.singleQueue = singleQueue
    }

    /// What to watch for readability; valid as long as the socket lives.
    public var descriptor: CInt {
        owned.number
    }

    /// Lets further sockets of this user bind the same address, with ``UDPOptions/reusesPort``.
    ///
    /// The first to bind without it still finds out whether somebody else has the address.
    /// - Throws: ``IOError``.
    public func sharePort() throws(IOError) {
        let result = clinux_udp_set_reuse_port(owned.number)
        guard result == 0 else {
            throw IOError("share port of", "\(localAddress)", code: -result)
        }
    }

    /// Steers what comes to the address among the `count` sockets that share it.
    ///
    /// A datagram, or what GRO made of several, goes to the socket numbered, in the order of
    /// binding, by its big-endian 32-bit word at offset `first` modulo `count`, or by the word at
    /// `second` where the first is 0.
    /// - Throws: ``IOError``.
    /// - Precondition: `count` is positive.
    public func steer(byWordAt first: Int, orAt second: Int, count: Int) throws(IOError) {
        precondition(count > 0 && first >= 0 && second >= 0, "no steering")
        let result = clinux_udp_steer(
            owned.number,
            UInt32(clamping: first),
            UInt32(clamping: second),
            UInt32(clamping: count)
        )
        guard result == 0 else {
            throw IOError("steer datagrams of", "\(localAddress)", code: -result)
        }
    }

    /// Receives what waits, each message into its own slot of `arena`, and appends runs for them.
    ///
    /// Slot i is the ``slotByteCount`` bytes from `i * slotByteCount` on. At most as many messages
    /// come as there are slots, room in `runs`, and ``UDPOptions/receiveMessageCount``. A message
    /// too large for its slot is dropped and counted.
    /// - Returns: how many slots were used, dropped messages included; 0 when nothing waits.
    /// - Throws: ``IOError`` when the socket itself is unusable, never for a peer's doing.
    /// - Precondition: the slots lie within the arena.
    public mutating func receive(
        into arena: inout MutableRawSpan,
        slots: Range<Int>,
        runs: inout ReceivedRuns
    ) throws(IOError) -> Int {
        precondition(
            slots.lowerBound >= 0 && slots.upperBound <= arena.byteCount / Self.slotByteCount,
            "slots out of arena"
        )
        let count = min(slots.count, receiveBatch.messageCapacity, runs.capacity - runs.count)
        guard count > 0 else { return 0 }
        let fd = owned.number
        let start = slots.lowerBound * Self.slotByteCount
        let result = unsafe arena.withUnsafeMutableBytes { buffer -> CInt in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe receiveBatch.receive(
                fd,
                into: (base + start).assumingMemoryBound(to: UInt8.self),
                slotByteCount: Self.slotByteCount,
                count: count
            )
        }
        counters.receiveCallCount += 1
        guard result >= 0 else {
            try judgeReceiveError(-result)
            return 0
        }
        for index in 0..<Int(result) {
            keep(receiveBatch.received(index), at: start + index * Self.slotByteCount, in: &runs)
        }
        return Int(result)
    }

    /// Sends all datagrams of `trains`, which lie in `arena` and have `datagramByteCount` bytes each.
    ///
    /// With segmentation, up to 64 datagrams or 65 507 bytes of a train go as one message that
    /// the kernel cuts. Where it refuses (a smaller MTU on the way), the message goes again as
    /// single datagrams, and so do later ones to that address for a minute.
    /// A full socket is waited for once a call, up to ``UDPOptions/sendWaitLimit``: the receive
    /// queue then grows meanwhile, and its marks slow the senders, where a drop would cost up to
    /// 47 cells. What still does not go is dropped and counted in ``counters``; no peer's or
    /// network's failure is an error here.
    /// - Precondition: all datagrams lie within the arena; a datagram has 1 to 65 507 bytes.
    public mutating func send(
        _ trains: borrowing DatagramTrains,
        datagramByteCount size: Int,
        from arena: RawSpan,
        now: Instant
    ) {
        precondition((1...Self.largestMessageByteCount).contains(size), "no size of a datagram")
        let limit = segments ? min(Self.segmentLimit, Self.largestMessageByteCount / size) : 1
        let source = Source(offsets: trains.offsets, datagramByteCount: size)
        var patience = sendWaitLimit
        unsafe arena.withUnsafeBytes { bytes in
            for train in trains.trains {
                let isCut = limit > 1 && !refusals.contains(train.destination.ip, now: now)
                unsafe enqueue(train, isCut ? limit : 1, source, bytes, &patience, now)
            }
            unsafe flush(source, bytes, &patience, now)
        }
    }

    /// What the receive queue holds now: one system call, for use once a batch.
    ///
    /// - Throws: ``IOError`` when the socket is unusable.
    public func receiveQueue() throws(IOError) -> UDPReceiveQueue {
        var queue = clinux_queue()
        let result = unsafe clinux_udp_queue(owned.number, &queue)
        guard result == 0 else {
            throw IOError("measure queue of", "\(localAddress)", code: -result)
        }
        return UDPReceiveQueue(
            byteCount: Int(queue.queued_byte_count),
            limitByteCount: Int(queue.limit_byte_count),
            droppedMessageCount: queue.dropped_count
        )
    }
}

// MARK: - Sending

extension UDPSocket {
    /// The datagrams of one call of send.
    private struct Source {
        let offsets: [Int32]
        let datagramByteCount: Int
    }

    /// Puts a train into the queue as messages of up to `limit` datagrams.
    @unsafe
    private mutating func enqueue(
        _ train: DatagramTrains.Train,
        _ limit: Int,
        _ source: Source,
        _ arena: UnsafeRawBufferPointer,
        _ patience: inout TimeSpan,
        _ now: Instant
    ) {
        var place = train.range.lowerBound
        while place < train.range.upperBound {
            let end = min(place + limit, train.range.upperBound)
            if !trainQueue.hasRoom(datagramCount: end - place) {
                unsafe flush(source, arena, &patience, now)
            }
            let message = SendQueue.Message(destination: train.destination, places: place..<end)
            let isTaken = unsafe trainQueue.append(
                message,
                offsets: source.offsets,
                datagramByteCount: source.datagramByteCount,
                from: arena,
                isV6: isV6
            )
            guard isTaken else {
                counters.dropped.badAddress += UInt64(train.range.upperBound - place)
                return
            }
            place = end
        }
    }

    /// Empties the queue; messages the kernel will not cut go as single datagrams.
    @unsafe
    private mutating func flush(
        _ source: Source,
        _ arena: UnsafeRawBufferPointer,
        _ patience: inout TimeSpan,
        _ now: Instant
    ) {
        while let refused = trainQueue.flush(
            owned.number,
            datagramByteCount: source.datagramByteCount,
            patience: &patience,
            counters: &counters
        ) {
            refusals.insert(refused.destination.ip, now: now)
            counters.unsegmentedMessageCount += 1
            unsafe sendSingly(refused, source, arena, &patience)
        }
    }

    @unsafe
    private mutating func sendSingly(
        _ message: SendQueue.Message,
        _ source: Source,
        _ arena: UnsafeRawBufferPointer,
        _ patience: inout TimeSpan
    ) {
        // The queue takes 64 messages, and no message has more datagrams than that.
        for place in message.places {
            let isTaken = unsafe singleQueue.append(
                SendQueue.Message(destination: message.destination, places: place..<place + 1),
                offsets: source.offsets,
                datagramByteCount: source.datagramByteCount,
                from: arena,
                isV6: isV6
            )
            precondition(isTaken, "the family was right for the whole message")
        }
        let refused = singleQueue.flush(
            owned.number,
            datagramByteCount: source.datagramByteCount,
            patience: &patience,
            counters: &counters
        )
        precondition(refused == nil, "single datagrams are not cut")
    }
}

// MARK: - Receiving

extension UDPSocket {
    private mutating func keep(
        _ message: clinux_received,
        at offset: Int,
        in runs: inout ReceivedRuns
    ) {
        guard !message.is_truncated else {
            counters.truncatedMessageCount += 1
            return
        }
        let byteCount = Int(message.byte_count)
        let segment = Int(message.segment_byte_count)
        let run = ReceivedRun(
            source: SocketAddress(message.source),
            offset: offset,
            byteCount: byteCount,
            segmentByteCount: segment > 0 ? segment : max(byteCount, 1)
        )
        counters.receivedMessageCount += 1
        counters.receivedDatagramCount += UInt64(run.datagramCount)
        counters.receivedByteCount += UInt64(byteCount)
        runs.append(run)
    }

    private mutating func judgeReceiveError(_ code: CInt) throws(IOError) {
        switch code {
        case EAGAIN, EINTR: break
        case EBADF, ENOTSOCK, EFAULT, EINVAL, ENOSYS, EPERM:
            throw IOError("receive on", "\(localAddress)", code: code)
        default: counters.receiveErrorCount += 1
        }
    }
}

// MARK: - Setting up

extension UDPSocket {
    /// The address a datagram to `destination` would come from; `nil` where there is no route.
    ///
    /// Sends nothing. With a `mark` the routes of marked datagrams count, which needs
    /// CAP_NET_ADMIN.
    public static func source(toward destination: SocketAddress, mark: UInt32?) -> IPAddress? {
        var wanted = clinux_address(destination)
        var source = clinux_address()
        let isV6 = !destination.ip.isV4
        guard unsafe clinux_udp_source(isV6, &wanted, mark ?? 0, &source) == 0 else { return nil }
        return SocketAddress(source).ip
    }

    private static func configure(
        _ fd: CInt,
        _ address: SocketAddress,
        _ options: UDPOptions
    ) throws(IOError) {
        func check(_ result: CInt, _ what: String, hint: String? = nil) throws(IOError) {
            guard result == 0 else {
                throw IOError("set \(what) of", "\(address)", code: -result, hint: hint)
            }
        }
        let receiveByteCount = CInt(clamping: options.receiveBufferByteCount)
        try check(clinux_udp_set_receive_buffer(fd, receiveByteCount), "receive buffer")
        let sendByteCount = CInt(clamping: options.sendBufferByteCount)
        try check(clinux_udp_set_send_buffer(fd, sendByteCount), "send buffer")
        if let mark = options.mark {
            try check(clinux_udp_set_mark(fd, mark), "firewall mark")
        }
        if options.reusesPort {
            try check(clinux_udp_set_reuse_port(fd), "port sharing")
        }
    }

    private static func bind(_ fd: CInt, _ address: SocketAddress) throws(IOError) -> SocketAddress
    {
        var wanted = clinux_address(address)
        let result = unsafe clinux_udp_bind(fd, !address.ip.isV4, &wanted)
        guard result == 0 else {
            throw IOError("bind", "\(address)", code: -result, hint: bindHint(-result, address))
        }
        var bound = clinux_address()
        let outcome = unsafe clinux_udp_local_address(fd, &bound)
        guard outcome == 0 else {
            throw IOError("read address of", "\(address)", code: -outcome)
        }
        return SocketAddress(bound)
    }

    private static func bindHint(_ code: CInt, _ address: SocketAddress) -> String? {
        switch code {
        case EADDRINUSE:
            "another program has this port: `ss -ulpn sport = :\(address.port)` names it"
        case EACCES:
            "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one or run as root"
        default: nil
        }
    }
}
