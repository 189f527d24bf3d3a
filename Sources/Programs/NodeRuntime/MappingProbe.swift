import Base
import ControlAPI
import EventLoop

/// Asks guards, all from one socket, under which address and port each of them sees it.
///
/// A router that translates addresses gives the socket either one port for everybody, or another
/// one for each destination; two guards tell which.
struct MappingProbe: Sendable {
    /// The guards, all of one address family, and each another machine.
    let guards: [GuardProbe]

    /// Asks them one after the other on a thread of its own; `nil` where none says what it sees.
    func run() async -> NetworkReport.Mapping? {
        await LoopThread.result(name: "umbel-netcheck") { self.ask() } ?? nil
    }

    private func ask() -> NetworkReport.Mapping? {
        guard let first = guards.first,
            let socket = ProbeSocket(to: first.address, isWhole: false),
            let local = socket.localAddress
        else { return nil }
        var seen: [SocketAddress] = []
        for probe in guards where socket.connect(to: probe.address) {
            if let address = probe.exchange(by: socket)?.seen { seen.append(address) }
        }
        return NetworkReport.Mapping(local: local, seen: seen)
    }
}

extension NetworkReport.Mapping {
    /// What guards that saw datagrams of `local` come from `seen` say of the way there; `nil` where
    /// there are none.
    init?(local: SocketAddress, seen: [SocketAddress]) {
        guard let first = seen.first else { return nil }
        let kind: Kind =
            if seen.allSatisfy({ $0 == local }) {
                .none
            } else if seen.contains(where: { $0 != first }) {
                .varies
            } else {
                // One guard alone cannot tell what others would see.
                seen.count > 1 ? .fixed : .unknown
            }
        self.init(kind: kind, local: "\(local)", seen: seen.map { "\($0)" })
    }
}

extension LoopThread {
    /// What `body` returns from a thread of its own, which may block; `nil` where none can be had.
    static func result<Value: Sendable>(
        name: String,
        _ body: @escaping @Sendable () -> Value
    ) async -> Value? {
        await withCheckedContinuation { continuation in
            let once = Once(continuation)
            do throws(IOError) {
                _ = try LoopThread.start(name: name) { once.resume(body()) }
            } catch {
                once.resume(nil)
            }
        }
    }
}
