import Base
import ClientCore
import Directory
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
        for relay in path {
            let earnings = relay.control.earnings
            #expect(earnings.served > 0, "relay \(relay.index) earned nothing")
            // Filled to a class: middle and exit with the circuit, the guard with its last one.
            #expect(earnings.served.isMultiple(of: 16), "relay \(relay.index)")
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

    /// A world in which a voucher is used up by what a test can carry, and a download that is fast.
    private func fast(_ seed: UInt64) throws -> (World, ClientNode, ClientHost, Stream) {
        var settings = settings(seed)
        settings.parameters.tickCells = 8
        settings.parameters.exitTickCells = 4
        let world = try World(settings)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        var download = Stream.Settings()
        download.byteCount = 20_000_000
        download.window = 256
        return (world, client, host, host.startStream(download))
    }

    /// A client that died begins anew, and carries a stream to its end; no hop refuses a voucher.
    private func restart(_ client: ClientNode, in world: World) -> ClientHost {
        client.restart()
        let host = client.openTunnel()
        #expect(world.run(within: .seconds(20)) { client.isConnected(host) })
        let stream = host.startStream()
        #expect(world.run(within: .seconds(60)) { stream.isFinished }, "\(client.history)")
        #expect(!client.history.contains("does not take a voucher"), "\(client.history)")
        return host
    }

    @Test("a client that dies while bulk vouchers pay shows no tick twice, and loses some strides")
    func bulkCrash() throws {
        let (world, client, _, first) = try fast(6)
        #expect(world.run(within: .seconds(60)) { first.arrivedByteCount > 18_000_000 })
        let bulk = client.wallet { $0.owned }.filter { $0.content.denomination == .bulk }
        #expect(bulk.contains { $0.spent ?? 0 > 1 })
        let again = restart(client, in: world)
        client.closeTunnel(again)
        world.run(for: .seconds(2))
        let served = world.relays.reduce(0) { $0 + $1.control.earnings.served }
        let spent = client.wallet { $0.spent }
        #expect(served <= spent)
        // One that pays and one that comes next, at each of three hops.
        #expect(spent <= served + 6 * 2 * 2_048)
        world.expectSound()
    }

    @Test("a fast flow comes to pay by bulk vouchers, and every tick is where it belongs")
    func bulk() throws {
        let (world, client, host, stream) = try fast(5)
        #expect(world.run(within: .seconds(60)) { stream.isFinished }, "\(client.history)")
        let exit = client.currentPath(of: host)[2].member.id
        let vouchers = client.wallet { $0.owned }.filter { $0.content.relay == exit }
        let counts = Denomination.allCases.map { denomination in
            vouchers.count { $0.content.denomination == denomination && $0.spent != nil }
        }
        #expect(counts[Denomination.bulk.index] > 0, "\(counts)")
        // The first ones are those of any flow.
        #expect(counts[Denomination.trial.index] == 1 && counts[Denomination.small.index] == 1)
        #expect(counts[Denomination.large.index] >= 1)
        client.closeTunnel(host)
        world.run(for: .seconds(20))
        let served = world.relays.reduce(0) { $0 + $1.control.earnings.served }
        #expect(served == client.wallet { $0.spent })
        #expect(client.wallet { $0.sums.bought == $0.spent + $0.outstanding })
        #expect(world.relays.allSatisfy { $0.control.earnings.waiting == 0 })
        #expect(world.mints?.depositedTicks == served)
        #expect(world.mints?.issuedTicks == client.wallet { $0.sums.bought })
        world.expectSound()
    }

    @Test("a client that dies shows no tick twice, and goes on with its guard's voucher (row 64)")
    func crash() throws {
        for seed in 10..<20 as Range<UInt64> {
            let world = try World(settings(seed))
            let (client, host) = try world.connectedClient(within: .seconds(20))
            var download = Stream.Settings()
            download.byteCount = 3_000_000
            let first = host.startStream(download)
            let enough = Int(seed) * 50_000
            #expect(world.run(within: .seconds(60)) { first.arrivedByteCount > enough })
            let guardRelay = client.currentPath(of: host)[0]
            let before = guardRelay.control.earnings
            let again = restart(client, in: world)
            let after = guardRelay.control.earnings
            #expect(client.currentPath(of: again)[0] === guardRelay)
            #expect(after.vouchers == before.vouchers)
            #expect(after.served > before.served)
            client.closeTunnel(again)
            world.run(for: .seconds(2))
            let served = world.relays.reduce(0) { $0 + $1.control.earnings.served }
            let spent = client.wallet { $0.spent }
            // What was marked as shown ahead of use counts as spent: some strides for each voucher
            // that was being spent.
            #expect(served <= spent)
            #expect(spent <= served + 2 * 256 + 4 * 32)
            world.expectSound()
        }
    }

    @Test("vouchers follow epochs: circuits go on, what is old is given back or expires (row 67)")
    func epochs() throws {
        var settings = settings(7)
        settings.pay?.epochSeconds = 60
        settings.pay?.depositSeconds = 5
        let world = try World(settings)
        let (client, host) = try world.connectedClient(within: .seconds(20))
        var steady = DatagramFlow.Settings()
        steady.count = 1_000_000
        steady.interval = .milliseconds(50)
        let flow = host.startFlow(steady)
        var answered: UInt32 = 0
        // The mints have keys of five epochs on.
        for _ in 0..<24 {
            world.run(for: .seconds(10))
            #expect(client.isConnected(host), "\(client.history)")
            #expect(flow.answeredCount > answered + 150, "\(client.history)")
            answered = flow.answeredCount
            let sums = client.wallet { ($0.sums, $0.outstanding, $0.spent) }
            #expect(
                sums.0.bought + sums.0.reclaimed
                    == sums.2 + sums.1 + sums.0.givenBack + sums.0.expired
            )
            for relay in world.relays {
                let earnings = relay.control.earnings
                let sum = earnings.credited + earnings.waiting + earnings.expired
                #expect(earnings.served == sum)
                #expect(earnings.expired == 0)
            }
        }
        #expect(client.wallet { $0.sums.reclaimed } > 0)
        #expect(!client.history.contains("does not take a voucher"), "\(client.history)")
        world.expectSound()
    }

    @Test("a guard's voucher is filled at the end of its last circuit, and never after a fault")
    func guardClass() throws {
        let world = try World(settings(8))
        let (client, host) = try world.connectedClient(within: .seconds(20))
        var download = Stream.Settings()
        download.byteCount = 2_000_000
        let first = host.startStream(download)
        #expect(world.run(within: .seconds(60)) { first.isFinished }, "\(client.history)")
        let path = client.currentPath(of: host)
        // The middle dies: the circuit ends by a fault, and another one over the guard goes on.
        world.kill(path[1])
        let second = host.startStream(download)
        #expect(world.run(within: .seconds(60)) { second.isFinished }, "\(client.history)")
        #expect(client.currentPath(of: host)[0] === path[0])
        let worked =
            path[0].counters.forwardCells + path[0].counters.deliveredCells
            + path[0].counters.backwardCells
        let paid = path[0].control.earnings.served
        // Ahead by a few ticks on each circuit, and by no class.
        #expect(paid <= worked / 256 + 2 * 5, "\(paid) ticks for \(worked) cells")
        client.closeTunnel(host)
        world.run(for: .seconds(2))
        let filled = path[0].control.earnings.served
        #expect(filled.isMultiple(of: 16))
        #expect(filled >= paid)
        world.expectSound()
    }

    @Test("a client without vouchers says so, and pays once it has some")
    func lacking() throws {
        var settings = settings(2)
        settings.pay?.grantTicks = 0
        let world = try World(settings)
        let client = world.addClient()
        let host = client.openTunnel()
        world.run(for: .seconds(30))
        #expect(!client.isConnected(host))
        #expect(client.history.contains("the wallet has no voucher for"), "\(client.history)")
        world.grant(100_000, to: client)
        #expect(world.run(within: .seconds(60)) { client.isConnected(host) }, "\(client.history)")
        world.expectSound()
    }

    @Test("relays that learn of the mints after the client hold it up until they do, no longer")
    func comesIntoForce() throws {
        for seed in 40..<50 as Range<UInt64> {
            let world = try World(settings(seed))
            let before = try world.roster.view(
                at: WallTime(seconds: 1_800_000_000),
                parameters: world.view.parameters
            )
            for relay in world.relays { relay.setView(before) }
            let client = world.addClient()
            client.setView(before)
            let host = client.openTunnel()
            #expect(world.run(within: .seconds(10)) { client.isConnected(host) }, "seed=\(seed)")
            client.setView(world.view)
            world.run(for: .seconds(2))
            // The next circuit is paid for, at hops that know no mint.
            client.renew(host)
            world.run(for: .seconds(10))
            for relay in world.relays { relay.setView(world.view) }
            let isBack = world.run(within: .seconds(8)) { client.isConnected(host) }
            #expect(isBack, "seed=\(seed): \(client.history)")
            var download = Stream.Settings()
            download.byteCount = 1_000_000
            let stream = host.startStream(download)
            #expect(world.run(within: .seconds(30)) { stream.isFinished }, "\(client.history)")
            #expect(client.wallet { $0.spent } > 0)
            world.expectSound()
        }
    }

    @Test("a circuit of first contact is built and spoken over without pay, within its limit")
    func firstContact() throws {
        var settings = settings(3)
        settings.pay?.grantTicks = 0
        let world = try World(settings)
        let client = world.addClient()
        client.openErrands()
        let isBuilt = world.run(within: .seconds(10)) {
            client.control.circuitReports().contains { $0.stage == .spare }
        }
        #expect(isBuilt)
        let circuit = try #require(client.control.circuitReports().first)
        // More than the 32 cells of others.
        for token in 1...30 as ClosedRange<UInt64> {
            #expect(client.ping(circuit.id, hop: 3, token: token))
            world.run(for: .milliseconds(500))
        }
        let answered = client.notices.count {
            if case .pong(_, _, .some) = $0.notice { true } else { false }
        }
        #expect(answered == 30)
        #expect(world.relays.allSatisfy { $0.counters.unpaidCells == 0 })
        world.expectSound()
    }

    @Test("an authority's measurement is carried without pay, and nothing else is")
    func measured() throws {
        let world = try World(settings(4))
        let prober = world.addProber()
        let token = prober.probe(
            Array(world.relays.prefix(3)),
            measuring: .init(cells: 1_000, time: .seconds(3))
        )
        #expect(world.run(within: .seconds(10)) { prober.outcomes[token] != nil })
        #expect(prober.outcomes[token]?.failure == nil)
        #expect(prober.outcomes[token]?.kilobits ?? 0 > 0)
        #expect(world.relays[2].counters.echoedCells == 1_000)
        world.expectSound()
    }
}
