import Base
import CLinux
import EventLoop
import Glibc

/// Message headers, addresses, control messages and pieces of one recvmmsg or sendmmsg.
// Sendable: the C batch has no other owner and no link to a thread.
@safe
struct MessageBatch: ~Copyable, @unchecked Sendable {
    private let batch: OpaquePointer
    let messageCapacity: Int
    let pieceCapacity: Int

    init(messageCapacity: Int, pieceCapacity: Int) throws(IOError) {
        guard
            let batch = unsafe clinux_batch_create(UInt32(messageCapacity), UInt32(pieceCapacity))
        else {
            throw IOError("allocate", "\(messageCapacity) message headers", code: ENOMEM)
        }
        unsafe self.batch = batch
        self.messageCapacity = messageCapacity
        self.pieceCapacity = pieceCapacity
    }

    deinit {
        unsafe clinux_batch_destroy(batch)
    }

    /// Receives into `count` slots of `slotByteCount` from `base` on; a count or a negated errno.
    @unsafe
    mutating func receive(
        _ fd: CInt,
        into base: UnsafeMutablePointer<UInt8>,
        slotByteCount: Int,
        count: Int
    ) -> CInt {
        unsafe clinux_batch_receive(batch, fd, base, slotByteCount, UInt32(count))
    }

    func received(_ index: Int) -> clinux_received {
        unsafe clinux_batch_received(batch, UInt32(index))
    }

    mutating func clear() {
        unsafe clinux_batch_clear(batch)
    }

    /// Begins a message; false when the batch is full or the family cannot reach `destination`.
    mutating func begin(isV6: Bool, to destination: SocketAddress, segment: Int) -> Bool {
        var address = clinux_address(destination)
        return unsafe clinux_batch_begin_message(batch, isV6, &address, UInt16(segment))
    }

    /// Appends bytes to the message begun last; false when there is no room for another piece.
    @unsafe
    mutating func append(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        unsafe clinux_batch_append(batch, bytes, count)
    }

    /// Sends the messages from `first` on; a count or a negated errno.
    mutating func send(_ fd: CInt, from first: Int) -> CInt {
        unsafe clinux_batch_send(batch, fd, UInt32(first))
    }
}

extension clinux_address {
    init(_ address: SocketAddress) {
        self.init(high: address.ip.high, low: address.ip.low, port: address.port)
    }
}

extension SocketAddress {
    init(_ address: clinux_address) {
        self.init(ip: IPAddress(high: address.high, low: address.low), port: address.port)
    }
}
