import Base
import CLinux
import EventLoop
import Glibc
import Synchronization

/// Asks a server of the internet for an echo every few milliseconds, each time by a flow of its own,
/// and remembers when the answers to which came.
///
/// New flows, so that what is seen is whether somebody who begins something now gets an answer.
final class EchoProbe: Sendable {
    private struct State {
        /// When the last question was asked that an answer came to, in nanoseconds.
        var answered: [UInt64] = []
    }

    private static let intervalMicroseconds: UInt32 = 5_000
    /// Questions whose answers are waited for.
    private static let waiting = 400

    private let state = Mutex(State())
    private let isOver = Atomic(false)

    /// Begins to ask the port `port` of the IPv4 address `address` from the namespace `namespace`.
    ///
    /// - Throws: ``LabError`` where the namespace cannot be entered.
    init(namespace: String, address: String, port: UInt16) throws {
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = port.bigEndian
        guard unsafe inet_pton(AF_INET, address, &target.sin_addr) == 1 else {
            throw LabError("cannot ask \(address)", why: "it is no IPv4 address")
        }
        let place = unsafe open("/run/netns/\(namespace)", O_RDONLY | O_CLOEXEC)
        guard place >= 0 else {
            throw LabError("cannot enter \(namespace)", why: "there is no such namespace")
        }
        let destination = target
        _ = try LoopThread.start(name: "echo-probe") { [self] in
            defer { close(place) }
            guard clinux_enter_network_namespace(place) == 0 else { return }
            ask(destination)
        }
    }

    /// Ends the asking.
    func stop() {
        isOver.store(true, ordering: .relaxed)
    }

    /// When the first question after `time` was asked that was answered; `nil` where none was yet.
    func firstAnswered(after time: UInt64) -> UInt64? {
        state.withLock { state in state.answered.first { $0 > time } }
    }

    private func ask(_ target: sockaddr_in) {
        var sockets: [(descriptor: Int32, asked: UInt64)] = []
        while !isOver.load(ordering: .relaxed) {
            let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC | O_NONBLOCK, 0)
            var address = target
            let isConnected = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
                    return unsafe connect(descriptor, generic, length) == 0
                }
            }
            let asked = MonotonicClock.now().nanoseconds
            var byte: UInt8 = 7
            if descriptor >= 0, isConnected, unsafe send(descriptor, &byte, 1, 0) == 1 {
                sockets.append((descriptor, asked))
            } else if descriptor >= 0 {
                close(descriptor)
            }
            usleep(Self.intervalMicroseconds)
            sockets.removeAll { entry in
                guard unsafe recv(entry.descriptor, &byte, 1, 0) == 1 else { return false }
                state.withLock { $0.answered.append(entry.asked) }
                close(entry.descriptor)
                return true
            }
            if sockets.count > Self.waiting { close(sockets.removeFirst().descriptor) }
        }
        for entry in sockets { close(entry.descriptor) }
    }
}
