public import Base
public import EventLoop
import Flows
import UDPTransport

/// Whether a relay could receive at addresses, and at which it might.
public enum ListenCheck {
    /// Binds each of the addresses and lets them go again.
    ///
    /// - Throws: ``IOError`` where one is not this machine's, or taken.
    public static func run(_ addresses: [SocketAddress]) throws(IOError) {
        // One at a time: there may be several of a family.
        for address in addresses {
            _ = try PacketSockets([address], options: UDPOptions())
        }
    }

    /// Those of `addresses` that are no addresses of the public internet's.
    public static func unreachable(_ addresses: [SocketAddress]) -> [SocketAddress] {
        addresses.filter { !ExitPolicy.isPublic($0.ip) }
    }

    // Somewhere on the internet: only which way leads there is asked, and nothing is sent.
    private static let far = [
        IPAddress(v4: 0x0101_0101), IPAddress(high: 0x2606_4700_4700_0000, low: 0x1111),
    ]

    /// This machine's addresses towards the internet, with `port`; one of each family at most.
    public static func suggestions(port: UInt16) -> [SocketAddress] {
        far.compactMap { UDPSocket.source(toward: SocketAddress(ip: $0, port: port), mark: nil) }
            .map { SocketAddress(ip: $0, port: port) }
    }
}
