import Base
import ClientCore
import RelayCore
import Simulation
import Testing
import Tickets
import Wire

@Suite("Every hop is paid")
struct PaymentTests {
    private func settings(_ seed: UInt64) -> WorldSettings {
        var settings = WorldSettings(seed: seed)
        settings.pay = PaySettings()
        return settings
    }

    /// Downloads so many bytes and closes the tunnel.
    private func download(_ byteCount: Int, _ world: World) throws -> (ClientNode, [RelayNode]) {
        let (client, host) = try world.connectedClient(within: .seconds(20))
        var download = Stream.Settings()
        download.byteCount = byteCount
        let stream = host.startStream(download)
        #expect(world.run(within: .seconds(120)) { stream.isFinished }, "\(client.history)")
        let path = client.currentPath(of: host)
        client.closeTunnel(host)
        world.run(for: .seconds(2))
        return (client, path)
    }

    @Test("a circuit is paid end to end, and every tick is where it belongs (row 68)")
    func paid() throws {
        let world = try World(settings(1))
        let (client, path) = try download(1_000_000, world)
        for (index, relay) in path.enumerated() {
            let parameters = relay.control.earnings
            #expect(parameters.served > 0, "relay \(relay.index) earned nothing")
            // Filled to a class where the voucher ends with the circuit.
            if index > 0 { #expect(parameters.served.isMultiple(of: 16)) }
            #expect(relay.counters.unpaidCells == 0)
        }
        let served = world.relays.reduce(0) { $0 + $1.control.earnings.served }
        #expect(served == client.wallet { $0.spent })
        #expect(client.wallet { $0.sums.bought == $0.spent + $0.outstanding })
        // Relays deposit within half as much again of the period; then all of it is money.
        world.run(for: .seconds(20))
        for relay in world.relays {
            let earnings = relay.control.earnings
            #expect(earnings.credited == earnings.served)
            #expect(earnings.waiting == 0)
        }
        #expect(world.mints?.depositedTicks == served)
        #expect(world.mints?.issuedTicks == client.wallet { $0.sums.bought })
        world.expectSound()
    }
}
