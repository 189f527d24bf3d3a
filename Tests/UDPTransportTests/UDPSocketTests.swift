import Base
import EventLoop
import Glibc
import Testing
import UDPTransport

@Suite("Datagrams over loopback", .timeLimit(.minutes(1)))
struct UDPSocketTests {
    @Test(
        "a train of 47 datagrams arrives byte for byte, cut or not on either side",
        arguments: [true, false],
        [true, false]
    )
    func train(senderSegments: Bool, receiverSegments: Bool) throws {
        var sender = try Peer("127.0.0.1:0") { $0.segments = senderSegments }
        var receiver = try Peer("127.0.0.1:0") { $0.segments = receiverSegments }
        #expect(sender.socket.segments == senderSegments)
        #expect(receiver.socket.segments == receiverSegments)
        let datagrams = Peer.datagrams(47, seed: 1)
        sender.send(datagrams, to: receiver.address)
        let received = try receiver.collect(47)
        #expect(received.map(\.bytes) == datagrams)
        #expect(received.allSatisfy { $0.source == sender.address })

        #expect(sender.socket.counters.sentDatagramCount == 47)
        #expect(sender.socket.counters.sentByteCount == 47 * 1_392)
        #expect(sender.socket.counters.sentMessageCount == (senderSegments ? 1 : 47))
        #expect(sender.socket.counters.sendCallCount == 1)
        #expect(sender.socket.counters.dropped.total == 0)
        let isOneMessage = senderSegments && receiverSegments
        #expect(receiver.socket.counters.receivedMessageCount == (isOneMessage ? 1 : 47))
        #expect(receiver.socket.counters.receivedDatagramCount == 47)
        #expect(receiver.socket.counters.receivedByteCount == 47 * 1_392)
        #expect(receiver.socket.counters.truncatedMessageCount == 0)
    }

    @Test("a long train goes as messages of 47, all in one call")
    func longTrain() throws {
        var sender = try Peer("[::1]:0")
        var receiver = try Peer("[::1]:0")
        let datagrams = Peer.datagrams(200, seed: 2)
        sender.send(datagrams, to: receiver.address)
        #expect(try receiver.collect(200).map(\.bytes) == datagrams)
        #expect(sender.socket.counters.sentMessageCount == 5)
        #expect(sender.socket.counters.sendCallCount == 1)
    }

    @Test("more datagrams than one call takes go in several")
    func manyCalls() throws {
        var sender = try Peer("127.0.0.1:0") { $0.segments = false }
        var receiver = try Peer("127.0.0.1:0")
        let datagrams = Peer.datagrams(150, seed: 3)
        sender.send(datagrams, to: receiver.address)
        #expect(try receiver.collect(150).map(\.bytes) == datagrams)
        #expect(sender.socket.counters.sendCallCount == 3)
    }

    @Test("datagrams scattered over the arena and mixed by destination arrive in their order")
    func scattered() throws {
        var sender = try Peer("127.0.0.1:0")
        var first = try Peer("127.0.0.1:0")
        var second = try Peer("127.0.0.1:0")
        let datagrams = Peer.datagrams(40, seed: 4)
        // In the arena backwards, with gaps of 100 bytes; every third is for the second peer.
        var arena = [UInt8](repeating: 0xee, count: 40 * 1_492)
        func offset(_ index: Int) -> Int { (39 - index) * 1_492 + 50 }
        for (index, datagram) in datagrams.enumerated() {
            arena.replaceSubrange(offset(index)..<offset(index) + 1_392, with: datagram)
        }
        let thirds = datagrams.indices.filter { $0.isMultiple(of: 3) }
        let others = datagrams.indices.filter { !$0.isMultiple(of: 3) }
        var trains = DatagramTrains()
        trains.append(thirds.map(offset), to: second.address)
        trains.append(others.map(offset), to: first.address)
        sender.socket.send(
            trains,
            datagramByteCount: Peer.datagramByteCount,
            from: arena.span.bytes,
            now: .zero
        )
        let forSecond = thirds.map { datagrams[$0] }
        let forFirst = others.map { datagrams[$0] }
        #expect(try first.collect(forFirst.count).map(\.bytes) == forFirst)
        #expect(try second.collect(forSecond.count).map(\.bytes) == forSecond)
        #expect(sender.socket.counters.sentMessageCount == 2)
    }

    @Test("one receive tells several senders apart, each message in its own slot")
    func sources() throws {
        var receiver = try Peer("127.0.0.1:0")
        var sent: [SocketAddress: [[UInt8]]] = [:]
        for seed in 1...5 {
            var sender = try Peer("127.0.0.1:0")
            let datagrams = Peer.datagrams(seed, seed: UInt8(seed))
            sender.send(datagrams, to: receiver.address)
            sent[sender.address] = datagrams
        }
        let (used, runs) = try receiver.receive()
        #expect(used == 5)
        #expect(Set(runs.map(\.source)) == Set(sent.keys))
        #expect(runs.map(\.offset) == (0..<5).map { $0 * UDPSocket.slotByteCount })
        for run in runs {
            #expect(receiver.datagrams(of: run).map(\.bytes) == sent[run.source])
        }
        #expect(try receiver.receive().used == 0, "and then there is nothing")
    }

    @Test("fewer slots than messages leave the rest for the next receive")
    func slots() throws {
        var sender = try Peer("127.0.0.1:0") { $0.segments = false }
        var receiver = try Peer("127.0.0.1:0")
        let datagrams = Peer.datagrams(5, seed: 5)
        sender.send(datagrams, to: receiver.address)
        let first = try receiver.receive(slots: 2..<5)
        #expect(first.used == 3)
        #expect(first.runs.map(\.offset) == [2, 3, 4].map { $0 * UDPSocket.slotByteCount })
        #expect(
            first.runs.flatMap { receiver.datagrams(of: $0).map(\.bytes) } == Array(datagrams[..<3])
        )
        #expect(try receiver.receive(slots: 0..<0).used == 0)
        let second = try receiver.receive(slots: 0..<16)
        #expect(
            second.runs.flatMap { receiver.datagrams(of: $0).map(\.bytes) }
                == Array(datagrams[3...])
        )
    }

    @Test("a socket bound to :: serves IPv4 peers under their IPv4 addresses, unless told not to")
    func dualStack() throws {
        var both = try Peer("[::]:0")
        var four = try Peer("127.0.0.1:0")
        let there = SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: both.address.port)
        four.send(Peer.datagrams(3, seed: 6), to: there)
        let received = try both.collect(3)
        #expect(received.map(\.source) == Array(repeating: four.address, count: 3))
        both.send(Peer.datagrams(2, seed: 7), to: four.address)
        #expect(try four.collect(2).map(\.bytes) == Peer.datagrams(2, seed: 7))

        var six = try Peer("[::]:0") { $0.isV6Only = true }
        six.send(Peer.datagrams(2, seed: 8), to: four.address)
        #expect(six.socket.counters.sentDatagramCount == 0)
        #expect(six.socket.counters.dropped.unreachable == 2)
    }

    @Test("a destination nobody can send to is counted and harms no other")
    func badDestination() throws {
        var sender = try Peer("127.0.0.1:0")
        var receiver = try Peer("127.0.0.1:0")
        var trains = DatagramTrains()
        let six = try #require(SocketAddress("[::1]:9"))
        let noPort = try #require(SocketAddress("127.0.0.1:0"))
        for destination in [six, noPort, receiver.address] {
            trains.append([0, 10, 20], to: destination)
        }
        let arena = [UInt8](0..<30)
        sender.socket.send(trains, datagramByteCount: 10, from: arena.span.bytes, now: .zero)
        let parts = [0, 10, 20].map { Array(arena[$0..<$0 + 10]) }
        #expect(try receiver.collect(3).map(\.bytes) == parts)
        #expect(sender.socket.counters.dropped.badAddress == 6)
        #expect(sender.socket.counters.sentDatagramCount == 3)
    }

    @Test("a peer that is gone is no error, and the socket goes on")
    func refused() throws {
        var sender = try Peer("127.0.0.1:0")
        var receiver = try Peer("127.0.0.1:0")
        let gone = try Peer("127.0.0.1:0").address
        for _ in 0..<3 {
            sender.send(Peer.datagrams(3, seed: 9), to: gone)
        }
        #expect(try sender.receive().used == 0)
        sender.send(Peer.datagrams(3, seed: 9), to: receiver.address)
        #expect(try receiver.collect(3).count == 3)
    }

    @Test("an empty datagram is a run of one")
    func empty() throws {
        var receiver = try Peer("127.0.0.1:0")
        let raw = OwnedDescriptor(owning: socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = receiver.address.port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(raw.number, nil, 0, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        #expect(sent == 0)
        let received = try receiver.collect(1)
        #expect(received.map(\.bytes) == [[]])
    }

    @Test("the receive queue shows what waits, its limit, and what the kernel dropped")
    func queue() throws {
        var sender = try Peer("127.0.0.1:0")
        var receiver = try Peer("127.0.0.1:0") { $0.receiveBufferByteCount = 1 << 18 }
        let before = try receiver.socket.receiveQueue()
        #expect(before.byteCount == 0)
        #expect(before.limitByteCount == 1 << 19, "the kernel books twice what was asked")
        sender.send(Peer.datagrams(47, seed: 1), to: receiver.address)
        let loaded = try receiver.socket.receiveQueue()
        #expect(loaded.byteCount > 47 * 1_392)
        for _ in 0..<20 { sender.send(Peer.datagrams(47, seed: 1), to: receiver.address) }
        let full = try receiver.socket.receiveQueue()
        #expect(full.droppedMessageCount > 0)
        while try receiver.receive().used > 0 {}
        #expect(try receiver.socket.receiveQueue().byteCount == 0)
    }

    @Test("a datagram outside the arena stops the program, not the kernel's reading")
    func outside() async {
        await #expect(processExitsWith: .failure) {
            // An error is not the stop that is asked for.
            guard var sender = try? Peer("127.0.0.1:0") else { exit(EXIT_SUCCESS) }
            let address = sender.address
            var trains = DatagramTrains()
            trains.append([1], to: address)
            let arena = [UInt8](repeating: 0, count: 100)
            sender.socket.send(trains, datagramByteCount: 100, from: arena.span.bytes, now: .zero)
        }
    }
}

@Suite("Sockets that cannot be had")
struct UDPSocketRefusalTests {
    private func failure(_ address: SocketAddress) -> IOError? {
        do {
            _ = try UDPSocket(bindingTo: address, options: UDPOptions())
            return nil
        } catch {
            return error
        }
    }

    @Test("a port in use is named, with the cause and how to find the culprit")
    func portInUse() throws {
        let holder = try Peer("127.0.0.1:0")
        let error = try #require(failure(holder.address))
        #expect(
            error.description == "bind \(holder.address): address already in use (EADDRINUSE)"
        )
        #expect(error.hint?.contains("ss -ulpn sport = :\(holder.address.port)") == true)
    }

    @Test("two sockets share a port only if both ask for it")
    func reusePort() throws {
        let holder = try Peer("127.0.0.1:0") { $0.reusesPort = true }
        _ = try Peer("\(holder.address)") { $0.reusesPort = true }
        #expect(failure(holder.address)?.code == EADDRINUSE)
    }

    @Test(
        "an address of another machine is refused with a hint",
        arguments: ["192.0.2.1:9", "[2001:db8::1]:9"]
    )
    func notOurs(address: String) throws {
        let ours = try #require(SocketAddress(address))
        let error = try #require(failure(ours))
        #expect(error.description.hasPrefix("bind \(address): cannot assign requested address"))
        #expect(error.hint?.contains("ip address") == true)
    }
}
