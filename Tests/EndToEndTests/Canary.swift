import Base
import EventLoop
import Foundation
import Synchronization

/// A program without marks or rights that sends to everywhere, every 10 ms, whatever happens.
///
/// Over IPv4 and IPv6, as routes lead and straight out of eth0, to web, DNS and DNS-over-TLS
/// ports, to the guards' own ports, and by TCP.
final class Canary: Sendable {
    /// What its datagrams begin with.
    static let song = Array("umbel canary".utf8)

    private static let intervalMicroseconds: UInt32 = 10_000

    private final class Shared: Sendable {
        let isOver = Atomic(false)
        let roundCount = Atomic(0)
    }

    private let shared = Shared()

    /// Sends from `host` to each of `targets`, until this value goes.
    init(_ lab: Lab, host: String, to targets: [SocketAddress]) throws {
        var pairs: [(NativeSocket, SocketAddress)] = []
        for device in [nil, "eth0"] {
            for family in [AF_INET, AF_INET6] {
                let socket = try NativeSocket(
                    lab,
                    host: host,
                    family: family,
                    type: Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue),
                    device: device
                )
                pairs += targets.filter { $0.ip.isV4 == (family == AF_INET) }.map { (socket, $0) }
            }
        }
        _ = try LoopThread.start(name: "canary") { [shared, pairs] in
            while !shared.isOver.load(ordering: .relaxed) {
                for (socket, target) in pairs { socket.send(Self.song, to: target) }
                shared.roundCount.add(1, ordering: .relaxed)
                usleep(Self.intervalMicroseconds)
            }
        }
    }

    deinit {
        shared.isOver.store(true, ordering: .relaxed)
    }

    /// How many times it has sent to every target.
    var roundCount: Int { shared.roundCount.load(ordering: .relaxed) }
}

extension Wiretap {
    /// What a locked machine must not have sent: anything but datagrams of ours and the finding of
    /// neighbours.
    func leaks(relayPort: UInt16 = 4433) -> [Packet] {
        packets().filter { packet in
            let isOurs =
                packet.isUDP && packet.destinationPort == relayPort
                && packet.payload.count % 1392 == 0
                && !packet.payload.starts(with: Canary.song)
            return !isOurs && !packet.isNeighbourDiscovery
        }
    }

    /// Whether each of `targets` has been sent the canary's song.
    func hasHeard(_ targets: [SocketAddress]) -> Bool {
        let heard = Set(
            packets().filter { $0.payload.starts(with: Canary.song) }
                .map { SocketAddress(ip: $0.destination, port: $0.destinationPort) }
        )
        return heard.isSuperset(of: targets)
    }
}
