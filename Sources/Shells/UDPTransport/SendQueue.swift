import Base
import EventLoop
import Glibc

/// Messages on their way into sendmmsg, and what becomes of those the kernel refuses.
struct SendQueue: ~Copyable, Sendable {
    /// One message: the datagrams whose offsets stand at `places`.
    struct Message {
        let destination: SocketAddress
        let places: Range<Int>

        var datagramCount: Int { places.count }
        var isSegmented: Bool { places.count > 1 }
    }

    private static let interruptionLimit = 16
    private var batch: MessageBatch
    private var messages: [Message] = []
    private var pieceCount = 0
    private var next = 0

    init(messageCapacity: Int, pieceCapacity: Int) throws(IOError) {
        batch = try MessageBatch(messageCapacity: messageCapacity, pieceCapacity: pieceCapacity)
        messages.reserveCapacity(messageCapacity)
    }

    /// Whether a message of `datagramCount` datagrams fits, wherever they lie.
    func hasRoom(datagramCount: Int) -> Bool {
        messages.count < batch.messageCapacity
            && pieceCount + datagramCount <= batch.pieceCapacity
    }

    /// Puts `message` in; false when the socket's family cannot reach its destination.
    ///
    /// Datagrams that lie side by side in the arena are handed to the kernel as one piece.
    ///
    /// - Precondition: there is room, and every datagram lies within the arena.
    @unsafe
    mutating func append(
        _ message: Message,
        offsets: [Int32],
        datagramByteCount size: Int,
        from arena: UnsafeRawBufferPointer,
        isV6: Bool
    ) -> Bool {
        let segment = message.isSegmented ? size : 0
        guard batch.begin(isV6: isV6, to: message.destination, segment: segment),
            let base = arena.baseAddress
        else { return false }
        var place = message.places.lowerBound
        while place < message.places.upperBound {
            let start = Int(offsets[place])
            var end = start &+ size
            place &+= 1
            while place < message.places.upperBound, Int(offsets[place]) == end {
                end &+= size
                place &+= 1
            }
            precondition(start >= 0 && end <= arena.count, "datagram out of arena")
            let isTaken = unsafe batch.append(
                (base + start).assumingMemoryBound(to: UInt8.self),
                end - start
            )
            precondition(isTaken, "a message has room for its pieces")
        }
        pieceCount += message.datagramCount
        messages.append(message)
        return true
    }

    /// Sends all that is queued, then is empty; stops early at a train the kernel will not cut.
    ///
    /// `patience` is the time this and later flushes of one send may wait for room: waiting once
    /// uses it up. What does not go then is dropped and counted.
    /// - Returns: the message to send again as single datagrams, before flushing on; `nil` at the
    ///   end.
    mutating func flush(
        _ fd: CInt,
        datagramByteCount: Int,
        patience: inout TimeSpan,
        counters: inout UDPCounters
    ) -> Message? {
        var interruptionCount = 0
        while next < messages.count {
            let result = batch.send(fd, from: next)
            counters.sendCallCount += 1
            if result > 0 {
                let end = min(next + Int(result), messages.count)
                for message in messages[next..<end] {
                    let count = message.datagramCount
                    counters.sentDatagramCount += UInt64(count)
                    counters.sentByteCount += UInt64(count * datagramByteCount)
                }
                counters.sentMessageCount += UInt64(end - next)
                next = end
                continue
            }
            let code = -result
            if code == EINTR, interruptionCount < Self.interruptionLimit {
                interruptionCount += 1
                continue
            }
            if code == EAGAIN {
                if patience > .zero {
                    Self.waitForRoom(fd, atMost: patience)
                    patience = .zero
                    counters.sendWaitCount += 1
                    continue
                }
                // A full socket is full for the messages behind this one as well.
                for message in messages[next...] {
                    counters.dropped.full += UInt64(message.datagramCount)
                }
                break
            }
            let message = messages[next]
            next += 1
            if message.isSegmented, code == EMSGSIZE || code == EIO || code == EINVAL {
                return message
            }
            counters.dropped.count(message.datagramCount, code: code)
        }
        clear()
        return nil
    }

    private mutating func clear() {
        batch.clear()
        messages.removeAll(keepingCapacity: true)
        pieceCount = 0
        next = 0
    }

    private static func waitForRoom(_ fd: CInt, atMost span: TimeSpan) {
        var entry = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
        let milliseconds = (span.nanoseconds + 999_999) / 1_000_000
        _ = unsafe poll(&entry, 1, CInt(clamping: milliseconds))
    }
}

extension UDPCounters.Drops {
    mutating func count(_ datagramCount: Int, code: CInt) {
        let count = UInt64(datagramCount)
        switch code {
        case ENOBUFS, ENOMEM: noMemory += count
        case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENODEV:
            unreachable += count
        case EPERM, EACCES: forbidden += count
        case EMSGSIZE: tooLarge += count
        case EINVAL, EAFNOSUPPORT, EADDRNOTAVAIL, EDESTADDRREQ: badAddress += count
        default: other += count
        }
    }
}
