public import Base
import CLinux
import Glibc

/// A descriptor that became ready.
public struct PollEvent: Hashable, Sendable, BitwiseCopyable {
    /// The token it was added with.
    public let token: UInt64
    /// Reading will not block.
    public let isReadable: Bool
    /// Writing will not block.
    public let isWritable: Bool
    /// The other end closed, or an error waits to be read.
    public let isClosed: Bool
}

/// Waits for descriptors and a deadline: epoll, level-triggered, with nanosecond timeouts.
///
/// Add descriptors, then in a loop ``wait(until:now:)`` and look at ``event(at:)`` for each index
/// below its result. A descriptor that stays ready is reported again by the next wait. At most
/// ``eventCapacity`` events come at a time; the kernel hands out the others on the next wait.
/// Owned by one thread. Remove a descriptor before it is closed.
public struct Poller: ~Copyable {
    /// Events one wait reports at most.
    public static let eventCapacity = 64

    private let descriptor: OwnedDescriptor
    private var events: [clinux_event]
    private var readyCount = 0
    private var isPrecise = true

    /// Creates the epoll instance.
    ///
    /// - Throws: ``IOError`` when the process is out of descriptors.
    public init() throws(IOError) {
        descriptor = try OwnedDescriptor(clinux_poll_create(), "create", "epoll instance")
        events = Array(repeating: clinux_event(), count: Self.eventCapacity)
    }

    /// Watches `fd` from now on and reports it as `token`.
    ///
    /// - Throws: ``IOError``, as when `fd` is watched already (`EEXIST`).
    public mutating func add(
        _ fd: CInt,
        token: UInt64,
        readable: Bool = true,
        writable: Bool = false
    ) throws(IOError) {
        try control(CLINUX_POLL_ADD, "watch", fd, token, readable, writable)
    }

    /// Changes what `fd`, watched already, is watched for.
    ///
    /// - Throws: ``IOError``, as when `fd` is not watched (`ENOENT`).
    public mutating func modify(
        _ fd: CInt,
        token: UInt64,
        readable: Bool,
        writable: Bool
    ) throws(IOError) {
        try control(CLINUX_POLL_MODIFY, "change the watch of", fd, token, readable, writable)
    }

    /// Watches `fd` no longer.
    ///
    /// - Throws: ``IOError``, as when `fd` is not watched (`ENOENT`).
    public mutating func remove(_ fd: CInt) throws(IOError) {
        try control(CLINUX_POLL_REMOVE, "unwatch", fd, 0, false, false)
    }

    /// Sleeps until a descriptor is ready or `deadline` is reached; `nil` waits without end.
    ///
    /// `now` is the time the deadline is measured from; a deadline in the past only looks. Where
    /// the kernel lacks epoll_pwait2 (before 5.11) the time left is rounded up to milliseconds.
    /// - Returns: how many events there are, 0 for a deadline or an interrupting signal.
    /// - Throws: ``IOError`` when the kernel refuses to wait at all.
    public mutating func wait(until deadline: Instant?, now: Instant) throws(IOError) -> Int {
        var nanoseconds: Int64 = -1
        if let deadline {
            nanoseconds = Int64(clamping: (deadline - now).nanoseconds)
        }
        var result = ask(nanoseconds)
        if result == -ENOSYS, isPrecise {
            isPrecise = false
            result = ask(nanoseconds)
        }
        readyCount = max(0, Int(result))
        guard result >= 0 || result == -EINTR else {
            throw IOError("wait for", "events", code: -result)
        }
        return readyCount
    }

    /// Event `index` of the last wait.
    ///
    /// - Precondition: `index` is below that wait's result.
    public func event(at index: Int) -> PollEvent {
        precondition(index < readyCount, "no such event")
        let event = events[index]
        return PollEvent(
            token: event.token,
            isReadable: event.is_readable,
            isWritable: event.is_writable,
            isClosed: event.is_closed
        )
    }

    /// Uses millisecond timeouts from now on, as on a kernel without epoll_pwait2.
    mutating func useMilliseconds() {
        isPrecise = false
    }

    private mutating func ask(_ nanoseconds: Int64) -> CInt {
        let number = descriptor.number
        let isPrecise = isPrecise
        return unsafe events.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe clinux_poll_wait(
                number,
                base,
                UInt32(buffer.count),
                nanoseconds,
                isPrecise
            )
        }
    }

    private func control(
        _ action: Int,
        _ verb: String,
        _ fd: CInt,
        _ token: UInt64,
        _ readable: Bool,
        _ writable: Bool
    ) throws(IOError) {
        let result = clinux_poll_control(
            descriptor.number,
            CInt(action),
            fd,
            token,
            readable,
            writable
        )
        guard result == 0 else {
            throw IOError(verb, "descriptor \(fd)", code: -result)
        }
    }
}
