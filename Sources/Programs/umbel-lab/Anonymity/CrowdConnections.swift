import Base
import EventLoop
import Glibc
import Synchronization
import Workloads

/// TCP connections of a crowd: a server on one host and a thread for each client on its own.
///
/// A request is 16 bytes, big-endian: a word that marks it, the client's number, the bytes it
/// uploads in all, the bytes it wants. The server notes from which address each client came, which is
/// what an experiment knows and an observer wants to.
final class CrowdConnections: Sendable {
    /// What came of it.
    struct Outcome: Sendable {
        /// Which client came from which exit address and port.
        var clients: [LinkTaps.FlowKey: Int] = [:]
        /// Bytes clients asked for.
        var asked = 0
        /// Bytes that came.
        var arrived = 0
        /// Seconds connecting took: a round trip through the circuit.
        var connects: [Double] = []
        /// Connections that failed, and the last reason.
        var failures = 0
        var lastFailure = ""
    }

    private static let mark: UInt32 = 0x756d_6263
    private let outcome = Mutex(Outcome())
    private let isStopped = Atomic(false)
    private let address: IPAddress
    private let port: UInt16
    private let threads = Mutex<[LabThread.Handle]>([])

    /// Serves at an IPv4 address inside a namespace from now on.
    ///
    /// - Throws: ``LabError`` where the port cannot be had.
    init(namespace: String, address: IPAddress, port: UInt16) throws(LabError) {
        self.address = address
        self.port = port
        let listener: Int32
        do {
            listener = try LabThread.inside(namespace) { try Self.listener(address, port) }
            try start("crowd-server") { [self] in serve(listener) }
        } catch {
            throw LabError("cannot serve the crowd in \(namespace)", why: "\(error)")
        }
    }

    /// Lets a client do its transfers, beginning at `start` and ending at `end`, seconds of the
    /// monotonic clock.
    ///
    /// - Throws: ``LabError`` where no thread can be had.
    func begin(
        client: Int,
        namespace: String,
        transfers: [Transfer],
        start: Double,
        end: Double
    ) throws(LabError) {
        do throws(IOError) {
            try self.start("crowd-\(client)") { [self] in
                do throws(IOError) {
                    try LabThread.enter(namespace)
                } catch {
                    return fail("\(error)")
                }
                for transfer in transfers {
                    while Self.now() < min(start + transfer.time, end) {
                        let left = min(start + transfer.time, end) - Self.now()
                        usleep(UInt32(max(1, min(left, 0.2) * 1e6)))
                    }
                    guard Self.now() < end else { return }
                    run(transfer, of: client, until: end)
                }
            }
        } catch {
            throw LabError("cannot start client \(client)", why: "\(error)")
        }
    }

    /// Waits for all threads and hands over what came of it.
    func finish() -> Outcome {
        isStopped.store(true, ordering: .relaxed)
        let all = threads.withLock { list in
            defer { list = [] }
            return list
        }
        for thread in all { thread.join() }
        // Connections still served when the server ended are on threads of their own.
        for thread in threads.withLock({ $0 }) { thread.join() }
        return outcome.withLock { $0 }
    }

    static func now() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    private func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(IOError) {
        let handle = try LabThread.Handle(name, body)
        threads.withLock { $0.append(handle) }
    }

    private func fail(_ reason: String) {
        outcome.withLock {
            $0.failures += 1
            $0.lastFailure = reason
        }
    }

    // MARK: The client's end

    private func run(_ transfer: Transfer, of client: Int, until end: Double) {
        outcome.withLock { $0.asked += transfer.downloadByteCount }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { return fail("no socket: \(errno)") }
        defer { close(descriptor) }
        Self.limitWaits(descriptor)
        let began = Self.now()
        guard unsafe Self.withAddress(address, port, { unsafe connect(descriptor, $0, $1) }) == 0
        else {
            return fail("connect: \(errno)")
        }
        let connected = Self.now() - began
        let upload = max(16, min(transfer.uploadByteCount, 1 << 24))
        var request: [UInt8] = []
        for word in [
            Self.mark, UInt32(client), UInt32(upload), UInt32(clamping: transfer.downloadByteCount),
        ] {
            for shift in [24, 16, 8, 0] as [UInt32] {
                request.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        request += [UInt8](repeating: 0, count: upload - 16)
        guard sendAll(descriptor, request, until: end) else { return fail("send: \(errno)") }
        let arrived = receive(descriptor, transfer.downloadByteCount, until: end)
        outcome.withLock {
            $0.connects.append(connected)
            $0.arrived += arrived
        }
    }

    private func receive(_ descriptor: Int32, _ byteCount: Int, until end: Double) -> Int {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var total = 0
        while total < byteCount, Self.now() < end {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
            }
            if count > 0 {
                total += count
            } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
                return total
            }
        }
        return total
    }

    private func sendAll(_ descriptor: Int32, _ bytes: [UInt8], until end: Double) -> Bool {
        var offset = 0
        while offset < bytes.count {
            guard Self.now() < end else { return false }
            let count = unsafe bytes.withUnsafeBytes { source in
                unsafe send(
                    descriptor,
                    source.baseAddress.map { unsafe $0 + offset },
                    bytes.count - offset,
                    Int32(MSG_NOSIGNAL)
                )
            }
            if count > 0 {
                offset += count
            } else if errno != EAGAIN && errno != EINTR {
                return false
            }
        }
        return true
    }

    // MARK: The server's end

    private static func listener(_ address: IPAddress, _ port: UInt16) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw IOError("open", "a socket", code: errno) }
        var one: Int32 = 1
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        limitWaits(descriptor)
        guard unsafe withAddress(address, port, { unsafe bind(descriptor, $0, $1) }) == 0,
            listen(descriptor, 256) == 0
        else {
            let code = errno
            close(descriptor)
            throw IOError("listen on", "\(address):\(port)", code: code)
        }
        return descriptor
    }

    private func serve(_ listener: Int32) {
        defer { close(listener) }
        while !isStopped.load(ordering: .relaxed) {
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let descriptor = unsafe withUnsafeMutablePointer(to: &peer) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe accept(listener, $0, &size)
                }
            }
            guard descriptor >= 0 else { continue }
            Self.limitWaits(descriptor)
            let key = LinkTaps.FlowKey(
                address: IPAddress(v4: UInt32(bigEndian: peer.sin_addr.s_addr)),
                port: UInt16(bigEndian: peer.sin_port)
            )
            do throws(IOError) {
                try start("crowd-answer") { [self] in answer(descriptor, key) }
            } catch {
                close(descriptor)
                fail("\(error)")
            }
        }
    }

    private func answer(_ descriptor: Int32, _ key: LinkTaps.FlowKey) {
        defer { close(descriptor) }
        // A connection that is silent for this long is given up.
        let end = Self.now() + 600
        var head = [UInt8](repeating: 0, count: 16)
        var filled = 0
        while filled < 16 {
            guard Self.now() < end, !isStopped.load(ordering: .relaxed) else { return }
            let count = unsafe head.withUnsafeMutableBytes { target in
                unsafe recv(
                    descriptor,
                    target.baseAddress.map { unsafe $0 + filled },
                    16 - filled,
                    0
                )
            }
            if count > 0 {
                filled += count
            } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
                return
            }
        }
        let words = (0..<4).map { index in
            head[index * 4..<index * 4 + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        guard words[0] == Self.mark, words[2] >= 16 else { return }
        outcome.withLock { $0.clients[key] = Int(words[1]) }
        guard receive(descriptor, Int(words[2]) - 16, until: end) == Int(words[2]) - 16 else {
            return
        }
        let block = [UInt8](repeating: 0x5a, count: 65_536)
        var left = Int(words[3])
        while left > 0, !isStopped.load(ordering: .relaxed) {
            let part = left >= block.count ? block : Array(block[..<left])
            guard sendAll(descriptor, part, until: Self.now() + 5) else { return }
            left -= part.count
        }
    }

    /// Calls come back after half a second at the latest, so that everything ends when it shall.
    private static func limitWaits(_ descriptor: Int32) {
        var receive = timeval(tv_sec: 0, tv_usec: 500_000)
        // Connecting is a send to Linux: a circuit that is being mended takes some seconds.
        var send = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &receive, size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &send, size)
    }

    private static func withAddress(
        _ address: IPAddress,
        _ port: UInt16,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = (address.v4 ?? 0).bigEndian
        return unsafe withUnsafePointer(to: &name) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
