import Base
import ClientCore
import Simulation
import Testing

@Suite("Queues that stay short")
struct CongestionTests {
    private static let long = 600 << 10
    private static let overlong = 1_200 << 10

    private func world(_ seed: UInt64) throws -> World {
        var settings = WorldSettings(seed: seed)
        settings.client.keepsSpare = false
        return try World(settings)
    }

    /// Packets of 1,000 bytes every 2 ms for a second.
    private func stream(understandsMarks: Bool) -> DatagramFlow.Settings {
        var settings = DatagramFlow.Settings()
        settings.interval = .milliseconds(2)
        settings.count = 500
        settings.byteCount = 1_000
        settings.answerByteCount = 1_000
        settings.understandsMarks = understandsMarks
        return settings
    }

    @Test("without a long queue nothing is marked and nothing lost", arguments: [true, false])
    func quiet(understandsMarks: Bool) throws {
        let world = try world(1)
        let (_, host) = try world.connectedClient()
        let flow = host.startFlow(stream(understandsMarks: understandsMarks))
        #expect(world.run(within: .seconds(5)) { flow.answeredCount == 500 })
        #expect(flow.markedArrivalCount == 0)
        #expect(flow.markedAnswerCount == 0)
        world.expectSound()
    }

    @Test(
        "a long queue at any hop marks packets both ways, and loses none that understand",
        arguments: 0..<3
    )
    func marks(hop: Int) throws {
        let world = try world(2)
        let (client, host) = try world.connectedClient()
        let path = client.currentPath(of: host)
        try #require(path.count == 3)
        path[hop].queuedByteCount = Self.long
        let flow = host.startFlow(stream(understandsMarks: true))
        #expect(world.run(within: .seconds(5)) { flow.answeredCount == 500 })
        // Forward, guard and middle tell by the next backward cell: a round trip goes by first.
        #expect(flow.markedArrivalCount >= 400)
        // An exit's own queue is before the tunnel: answers do not wait in it.
        #expect(hop == 2 ? flow.markedAnswerCount == 0 : flow.markedAnswerCount == 500)
        world.expectSound()
    }

    @Test("a long queue at the client marks what it receives")
    func marksAtClient() throws {
        let world = try world(3)
        let (client, host) = try world.connectedClient()
        client.queuedByteCount = Self.long
        let flow = host.startFlow(stream(understandsMarks: true))
        #expect(world.run(within: .seconds(5)) { flow.answeredCount == 500 })
        #expect(flow.markedAnswerCount == 500)
        #expect(flow.markedArrivalCount == 0)
        world.expectSound()
    }

    @Test(
        "packets that understand no mark are lost one in 10 ms, and small ones never",
        arguments: 0..<3
    )
    func losses(hop: Int) throws {
        let world = try world(4)
        let (client, host) = try world.connectedClient()
        let path = client.currentPath(of: host)
        try #require(path.count == 3)
        path[hop].queuedByteCount = Self.long
        let flow = host.startFlow(stream(understandsMarks: false))
        var small = stream(understandsMarks: false)
        small.byteCount = 100
        small.answerByteCount = 100
        let conversation = host.startFlow(small)
        world.run(for: .seconds(3))
        #expect(conversation.answeredCount == 500)
        let lost = (0..<flow.settings.count).filter { !flow.arrivals.contains($0) }
        #expect((50...105).contains(lost.count), "\(lost.count) lost")
        for (one, next) in zip(lost, lost.dropFirst()) {
            // Five packets are 10 ms.
            #expect(next - one >= 5, "\(one) and \(next)")
        }
        world.expectSound()
    }

    @Test("an overlong queue drops the cells of the circuit that fills it")
    func sheds() throws {
        let world = try world(5)
        let (client, host) = try world.connectedClient()
        let path = client.currentPath(of: host)
        try #require(path.count == 3)
        path[1].queuedByteCount = Self.overlong
        let flow = host.startFlow(stream(understandsMarks: true))
        world.run(for: .milliseconds(500))
        #expect(flow.arrivedCount == 0)
        path[1].queuedByteCount = 0
        world.run(for: .milliseconds(500))
        #expect(flow.arrivedCount > 0)
        world.expectSound()
    }
}
