import Base
import EventLoop
import Foundation
import Synchronization

/// One TCP connection over which bytes of a known sequence come evenly, 4 MiB/s.
///
/// A server on one host sends them; a client on another reads and checks each, and notes the
/// longest time in which nothing came.
final class SteadyStream: Sendable {
    /// How far the reader is.
    struct Progress: Sendable {
        var byteCount = 0
        /// Whether each byte was the one expected.
        var isExact = true
        var longestGap = Duration.zero
        /// Why no more comes; `nil` while it goes on.
        var end: String?
        fileprivate var lastArrival = ContinuousClock.now
    }

    private final class Shared: Sendable {
        let progress = Mutex(Progress())
        let isOver = Atomic(false)
    }

    private static let chunkByteCount = 16_384
    private static let chunkMicroseconds: UInt32 = 4_000
    private static let silenceLimitSeconds = 60

    private let shared = Shared()

    /// Sends from the host `server`, whose address is `address`, to the host `client`.
    init(_ lab: Lab, from server: String, _ address: SocketAddress, to client: String) throws {
        let family = address.ip.isV4 ? AF_INET : AF_INET6
        let type = Int32(SOCK_STREAM.rawValue)
        let listener = try NativeSocket(lab, host: server, family: family, type: type)
        listener.set(SOL_SOCKET, SO_REUSEADDR, 1)
        try listener.bind(to: address)
        listen(listener.descriptor, 1)
        let reader = try NativeSocket(lab, host: client, family: family, type: type)
        reader.set(SOL_SOCKET, SO_RCVBUF, 65_536)
        reader.setLimit(seconds: Self.silenceLimitSeconds)
        try reader.connect(to: address)
        listener.setLimit(seconds: 60)
        let accepted = accept(listener.descriptor, nil, nil)
        guard accepted >= 0 else { throw IOError("accept", "\(address)", code: errno) }
        let writer = NativeSocket(owning: accepted)
        writer.setLimit(seconds: Self.silenceLimitSeconds)
        shared.progress.withLock { $0.lastArrival = .now }
        _ = try LoopThread.start(name: "stream-out") { [shared] in Self.write(writer, shared) }
        _ = try LoopThread.start(name: "stream-in") { [shared] in Self.read(reader, shared) }
    }

    deinit {
        shared.isOver.store(true, ordering: .relaxed)
    }

    /// How far the reader is; a gap that lasts counts.
    var progress: Progress {
        var progress = shared.progress.withLock { $0 }
        if progress.end == nil {
            progress.longestGap = max(progress.longestGap, .now - progress.lastArrival)
        }
        return progress
    }

    /// The sequence's period; no power of two, so that what is lost or doubled shows.
    private static let period = 65_537

    /// The sequence from its start on: one period and what the longest chunk needs beyond.
    private static let sequence = (0..<period + chunkByteCount).map { position in
        UInt8(truncatingIfNeeded: (UInt64(position % period) &* 0x9e37_79b9_7f4a_7c15) >> 56)
    }

    private static func write(_ socket: NativeSocket, _ shared: Shared) {
        var position = 0
        while !shared.isOver.load(ordering: .relaxed) {
            let end = position + chunkByteCount
            while position < end {
                let count = sequence.withUnsafeBytes { bytes in
                    send(
                        socket.descriptor,
                        bytes.baseAddress.map { $0 + position % period },
                        end - position,
                        Int32(MSG_NOSIGNAL)
                    )
                }
                guard count > 0 else { return }
                position += count
            }
            usleep(chunkMicroseconds)
        }
    }

    private static func read(_ socket: NativeSocket, _ shared: Shared) {
        var buffer = [UInt8](repeating: 0, count: chunkByteCount)
        var position = 0
        while !shared.isOver.load(ordering: .relaxed) {
            let count = recv(socket.descriptor, &buffer, buffer.count, 0)
            guard count > 0 else {
                let why = count == 0 ? "the server closed" : String(cString: strerror(errno))
                return shared.progress.withLock { $0.end = why }
            }
            let isExact = sequence.withUnsafeBytes { bytes in
                bytes.baseAddress.map { memcmp(buffer, $0 + position % period, count) } == 0
            }
            position += count
            shared.progress.withLock { progress in
                let now = ContinuousClock.now
                progress.longestGap = max(progress.longestGap, now - progress.lastArrival)
                progress.lastArrival = now
                progress.byteCount = position
                progress.isExact = progress.isExact && isExact
            }
        }
    }
}
