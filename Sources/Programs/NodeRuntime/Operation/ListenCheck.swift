public import Base
public import EventLoop
import UDPTransport

/// Whether a relay could receive at addresses.
public enum ListenCheck {
    /// Binds each of the addresses and lets them go again.
    ///
    /// - Throws: ``IOError`` where one is not this machine's, or taken.
    public static func run(_ addresses: [SocketAddress]) throws(IOError) {
        _ = try PacketSockets(addresses, options: UDPOptions())
    }
}
