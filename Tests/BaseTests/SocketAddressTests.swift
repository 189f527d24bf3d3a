import Base
import Testing

@Suite("Addresses as text")
struct SocketAddressTests {
    @Test(
        "text is read and written as RFC 5952 has it",
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("::", "::"), ("::1", "::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("::ffff:10.0.0.1", "10.0.0.1"), ("64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe"),
            ("fd75:6d62:656c::2", "fd75:6d62:656c::2"),
        ]
    )
    func roundTrip(text: String, written: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == written)
    }

    @Test(
        "what is no address is refused",
        arguments: [
            "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", ":::", "1::2::3", "12345::",
            "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "g::", "::1%eth0", "1.2.3.4 ", ":1:2:3:4:5:6:7",
        ]
    )
    func refused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("a network holds its own addresses and no others")
    func network() throws {
        let network = try #require(IPNetwork("198.51.100.128/25"))
        #expect(network.contains(try #require(IPAddress("198.51.100.255"))))
        #expect(!network.contains(try #require(IPAddress("198.51.100.127"))))
        #expect(network.description == "198.51.100.128/25")
        let six = try #require(IPNetwork("2001:db8::/32"))
        #expect(six.contains(try #require(IPAddress("2001:db8:ffff::1"))))
        #expect(!six.contains(try #require(IPAddress("2001:db9::1"))))
    }

    @Test("a socket address needs brackets for IPv6 and a port that fits")
    func sockets() {
        #expect(SocketAddress("[2001:db8::1]:4433")?.description == "[2001:db8::1]:4433")
        #expect(SocketAddress("192.0.2.1:4433")?.port == 4433)
        #expect(SocketAddress("192.0.2.1:65536") == nil)
        #expect(SocketAddress("2001:db8::1:4433") == nil)
    }
}
