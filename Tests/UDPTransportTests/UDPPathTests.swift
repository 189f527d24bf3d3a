import Base
import EventLoop
import Foundation
import NamespaceSupport
import Testing
import UDPTransport

/// Two namespaces joined by a veth pair.
///
///     sender  10.99.0.1, fd99::1  ──veth, mtu──  receiver  10.99.0.2, fd99::2
struct VethPair {
    let sender: NetworkNamespace
    let receiver: NetworkNamespace

    init(mtu: Int) throws {
        sender = try NetworkNamespace()
        receiver = try NetworkNamespace()
        try sender.ip(
            "link",
            "add",
            "v0",
            "type",
            "veth",
            "peer",
            "name",
            "v0",
            "netns",
            receiver.name
        )
        for (end, number) in [(sender, 1), (receiver, 2)] {
            try end.ip("link", "set", "v0", "mtu", "\(mtu)", "up")
            try end.ip("address", "add", "10.99.0.\(number)/24", "dev", "v0")
            try end.ip("address", "add", "fd99::\(number)/64", "dev", "v0", "nodad")
        }
    }
}

@Suite(
    "Datagrams over a way with limits",
    .enabled("\(NetworkNamespace.whyUnavailable ?? "")") {
        NetworkNamespace.whyUnavailable == nil
    },
    .timeLimit(.minutes(1))
)
struct UDPPathTests {
    @Test(
        "behind an MTU of 1280 trains arrive in fragments, and the way is remembered for a minute",
        arguments: [("10.99.0.1:0", "10.99.0.2:7"), ("[fd99::1]:0", "[fd99::2]:7")]
    )
    func smallMTU(from: String, to: String) throws {
        let pair = try VethPair(mtu: 1_280)
        var sender = try pair.sender.inside { try Peer(from) }
        var receiver = try pair.receiver.inside { try Peer(to) }
        let datagrams = Peer.datagrams(94, seed: 11)
        let start = Instant(nanoseconds: 1_000)

        sender.send(datagrams, to: receiver.address, now: start)
        #expect(try receiver.collect(94).map(\.bytes) == datagrams)
        #expect(sender.socket.counters.unsegmentedMessageCount == 2)
        #expect(sender.socket.counters.sentMessageCount == 94)
        #expect(sender.socket.counters.dropped.total == 0)
        let isV4 = sender.address.ip.isV4
        #expect(try Self.fragmentCount(in: pair.sender, isV4: isV4) == 188)

        sender.send(datagrams, to: receiver.address, now: start + .seconds(59))
        #expect(try receiver.collect(94).map(\.bytes) == datagrams)
        #expect(sender.socket.counters.unsegmentedMessageCount == 2, "it did not try again")

        sender.send(datagrams, to: receiver.address, now: start + .seconds(61))
        #expect(try receiver.collect(94).map(\.bytes) == datagrams)
        #expect(sender.socket.counters.unsegmentedMessageCount == 4, "it tried again")

        // The way widens: the next attempt after the minute goes whole.
        try pair.sender.ip("link", "set", "v0", "mtu", "1500")
        try pair.receiver.ip("link", "set", "v0", "mtu", "1500")
        let sentBefore = sender.socket.counters.sentMessageCount
        sender.send(datagrams, to: receiver.address, now: start + .seconds(200))
        #expect(try receiver.collect(94).map(\.bytes) == datagrams)
        #expect(sender.socket.counters.sentMessageCount == sentBefore + 2)
    }

    @Test("a firewall mark reaches the routing rules, whose refusal is counted, not thrown")
    func mark() throws {
        let pair = try VethPair(mtu: 1_500)
        try pair.sender.ip("rule", "add", "fwmark", "7", "prohibit")
        var marked = try pair.sender.inside { try Peer("10.99.0.1:0") { $0.mark = 7 } }
        var plain = try pair.sender.inside { try Peer("10.99.0.1:0") { $0.mark = 8 } }
        var receiver = try pair.receiver.inside { try Peer("10.99.0.2:7") }
        marked.send(Peer.datagrams(10, seed: 1), to: receiver.address)
        plain.send(Peer.datagrams(10, seed: 2), to: receiver.address)
        #expect(try receiver.collect(10).map(\.bytes) == Peer.datagrams(10, seed: 2))
        #expect(marked.socket.counters.dropped.forbidden == 10)
        #expect(marked.socket.counters.sentDatagramCount == 0)
        #expect(plain.socket.counters.dropped.total == 0)
    }

    @Test("no route is counted, and the way is used as soon as there is one")
    func noRoute() throws {
        let pair = try VethPair(mtu: 1_500)
        var sender = try pair.sender.inside { try Peer("10.99.0.1:0") }
        try pair.receiver.ip("address", "add", "10.77.0.1/32", "dev", "lo")
        var receiver = try pair.receiver.inside { try Peer("10.77.0.1:7") }
        sender.send(Peer.datagrams(50, seed: 1), to: receiver.address)
        #expect(sender.socket.counters.dropped.unreachable == 50)
        try pair.sender.ip("route", "add", "10.77.0.1", "via", "10.99.0.2")
        sender.send(Peer.datagrams(50, seed: 2), to: receiver.address)
        #expect(try receiver.collect(50).map(\.bytes) == Peer.datagrams(50, seed: 2))
    }

    @Test(
        "a socket that stays full is waited for once, then datagrams are dropped and counted",
        arguments: [TimeSpan.milliseconds(5), .zero]
    )
    func full(waitLimit: TimeSpan) throws {
        let pair = try VethPair(mtu: 1_500)
        try Command.run(
            "tc",
            "-n",
            pair.sender.name,
            "qdisc",
            "add",
            "dev",
            "v0",
            "root",
            "tbf",
            "rate",
            "1mbit",
            "burst",
            "70000",
            "limit",
            "10000000"
        )
        var sender = try pair.sender.inside {
            try Peer("10.99.0.1:0") {
                $0.sendBufferByteCount = 8_192
                $0.sendWaitLimit = waitLimit
            }
        }
        let datagrams = Peer.datagrams(470, seed: 1)
        let destination = try #require(SocketAddress("10.99.0.2:7"))
        let before = MonotonicClock.now()
        sender.send(datagrams, to: destination)
        let elapsed = MonotonicClock.now() - before
        let counters = sender.socket.counters
        #expect(counters.dropped.full > 0)
        #expect(counters.dropped.full == counters.dropped.total)
        #expect(counters.sentDatagramCount + counters.dropped.full == 470)
        #expect(counters.sendWaitCount == (waitLimit > .zero ? 1 : 0))
        #expect(elapsed >= waitLimit)
    }

    /// Fragments a namespace's IP layer made so far.
    private static func fragmentCount(in namespace: NetworkNamespace, isV4: Bool) throws -> Int? {
        let name = isV4 ? "IpFragCreates" : "Ip6FragCreates"
        let (output, _) = try namespace.spawn("nstat", "-asz", name).wait()
        let line = output.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
}
