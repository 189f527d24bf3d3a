import Base
import Circuits
import EventLoop
import Links
import RelayCore
import Testing
import Wire

@testable import NodeRuntime

@Suite("Reports of a packet thread that brings more than can be heard")
struct OverloadTests {
    @Test("a full mailbox takes what happens once and leaves what comes again")
    func full() throws {
        let mailbox = Mailbox<RelayControlMessage>(capacity: 8, wakeup: try Wakeup())
        let source = SocketAddress(ip: IPAddress(v4: 1), port: 1)
        let handshakes = [RelayEvent](repeating: .handshake([], from: source), count: 5)
        let circuit = CircuitID(rawValue: 3)
        mailbox.deliver(handshakes, from: 0)
        mailbox.deliver(
            handshakes + [.link(.lost(LinkID(rawValue: 1)))] + handshakes,
            from: 0
        )
        mailbox.deliver(handshakes, from: 0)
        mailbox.deliver([.destroyed(circuit)], from: 0)
        var messages: [RelayControlMessage] = []
        mailbox.drain(into: &messages)
        let events = messages.flatMap { message -> [RelayEvent] in
            if case .events(let events, from: 0) = message { events } else { [] }
        }
        #expect(events.count { $0.isRepeated } == 5)
        let rest = events.filter { !$0.isRepeated }
        try #require(rest.count == 2)
        if case .link(.lost(let id)) = rest[0] {
            #expect(id == LinkID(rawValue: 1))
        } else {
            Issue.record("the lost link is missing")
        }
        if case .destroyed(let id) = rest[1] {
            #expect(id == circuit)
        } else {
            Issue.record("the destroyed circuit is missing")
        }
        mailbox.deliver(handshakes, from: 0)
        mailbox.drain(into: &messages)
        #expect(messages.count == 1)
    }
}
