import Foundation
import HostNetwork

/// What went over a host's cable so far, as the kernel counts it at the router's end.
///
/// So a node's word for its own rate is not needed.
struct CableCount {
    /// Bytes of a cell's datagram, with the headers of UDP and IPv4.
    static let datagramByteCount = 1_420.0
    /// Of these, bytes of the headers.
    private static let headerByteCount = 28.0
    /// Bytes of headers the kernel counts of a frame, Ethernet's included.
    private static let frameHeaderByteCount = 42.0

    /// Bytes of datagrams the host sent.
    let sent: Double
    /// Bytes of datagrams that were sent to it.
    let received: Double
    /// When they were counted.
    let time = ContinuousClock.now

    private struct Link: Decodable {
        var counts: Counts

        struct Counts: Decodable {
            var rx: Count
            var tx: Count
        }

        struct Count: Decodable {
            var bytes: Double
            var packets: Double
        }

        private enum CodingKeys: String, CodingKey {
            case counts = "stats64"
        }
    }

    /// Asks the kernel for the cable of `host`.
    ///
    /// - Throws: ``LabError`` where the lab has no such host, or the kernel no counts of it.
    init(of host: String, in lab: MeasuredLab) async throws {
        let manifest = try lab.folder.existing()
        let port = manifest.hosts[try manifest.index(of: host)].port
        let text = try await CommandRunner(namespace: manifest.core)
            .run(["ip", "-s", "-j", "link", "show", "dev", port])
        let links = try JSONDecoder().decode([Link].self, from: Data(text.utf8))
        guard let counts = links.first?.counts else {
            throw LabError("the cable of \(host) has no counts", why: "`ip` names none")
        }
        // The router receives what the host sends.
        sent = Self.datagrams(counts.rx)
        received = Self.datagrams(counts.tx)
    }

    /// A train of datagrams is one frame with one header: each datagram is given its own.
    private static func datagrams(_ count: Link.Count) -> Double {
        let payload = count.bytes - count.packets * frameHeaderByteCount
        return payload * datagramByteCount / (datagramByteCount - headerByteCount)
    }

    /// Bits a second sent and received from `earlier` to this count.
    func rates(since earlier: Self) -> (sent: Double, received: Double) {
        let seconds = (time - earlier.time) / .seconds(1)
        return ((sent - earlier.sent) * 8 / seconds, (received - earlier.received) * 8 / seconds)
    }
}
