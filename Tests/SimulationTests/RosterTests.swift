import Base
import ClientCore
import CryptoPrimitives
import Directory
import Simulation
import Testing
import Wire

@Suite("Large worlds")
struct RosterTests {
    @Test("3,000 relays and as many clients have addresses of their own")
    func addresses() throws {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 7, count: 32)))
        let drafts = [RelayRoster.Draft](
            repeating: RelayRoster.Draft(flags: .guardCapable),
            count: 3_000
        )
        let roster = try RelayRoster(drafts, listensOnV6: true, random: &random)
        #expect(Set(roster.members.map(\.v4)).count == 3_000)
        #expect(Set(roster.members.compactMap(\.v6)).count == 3_000)
        // Each in a /24 and a /48 of its own, or rules on subnets would forbid paths.
        #expect(Set(roster.members.map { ($0.v4.ip.v4 ?? 0) >> 8 }).count == 3_000)
        #expect(Set(roster.members.compactMap { ($0.v6?.ip.high ?? 0) >> 16 }).count == 3_000)
    }

    @Test("clients share no address, no account and no relay's subnet")
    func clients() throws {
        var settings = WorldSettings(seed: 1)
        (settings.guardCount, settings.middleCount, settings.exitCount) = (150, 150, 20)
        settings.pay = PaySettings()
        settings.clientFlowLimit = 16
        let world = try World(settings)
        let clients = (0..<300).map { _ in world.addClient() }
        #expect(Set(clients.map(\.v4)).count == 300)
        #expect(Set(clients.map(\.account)).count == 300)
        let subnets = Set(world.relays.map { ($0.member.v4.ip.v4 ?? 0) >> 8 })
        #expect(clients.allSatisfy { !subnets.contains(($0.v4.ip.v4 ?? 0) >> 8) })
    }

    @Test("what a draft says of a relay is what the directory says")
    func listed() throws {
        var draft = RelayRoster.Draft(flags: [.exit, .exitsIPv6])
        draft.weightKilobits = 4_321
        draft.country = CountryCode("DE")
        draft.autonomousSystem = 64_500
        draft.family = FamilyID(high: 1, low: 2)
        draft.v4 = IPAddress(v4: 0x0c00_0005)
        draft.port = 9_000
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 8, count: 32)))
        let roster = try RelayRoster([draft], listensOnV6: false, random: &random)
        let view = try roster.view(at: WallTime(seconds: 1_800_000_000))
        let relay = try #require(view.relays.first)
        #expect(relay.weight == 4_321 && relay.country == CountryCode("DE"))
        #expect(relay.autonomousSystem == 64_500 && relay.family == FamilyID(high: 1, low: 2))
        #expect(relay.addresses.v4 == SocketAddress(ip: IPAddress(v4: 0x0c00_0005), port: 9_000))
        #expect(relay.flags.contains(.exit))
    }

    @Test("ways between places take what the places say, both ways")
    func places() throws {
        var settings = WorldSettings(seed: 2)
        settings.client.keepsSpare = false
        (settings.guardCount, settings.middleCount, settings.exitCount) = (1, 1, 1)
        let world = try World(settings)
        let (near, far) = (TimeSpan.milliseconds(2), TimeSpan.milliseconds(40))
        world.network.places = PlaceLatencies(count: 2, latencies: [near, far, far, near])
        // The client and its guard here, the other two there.
        world.network.setPlace(1, of: 1)
        world.network.setPlace(1, of: 2)
        let (client, host) = try world.connectedClient()
        world.run(for: .seconds(3))
        host.ping()
        #expect(world.run(within: .seconds(1)) { host.pings[0].answered != nil })
        let trip = try #require(host.pings[0].answered) - host.pings[0].sent
        // Twice 2, 40 and 2 ms, and 5 ms each way to the host behind the exit.
        #expect(trip >= .milliseconds(98) && trip < .milliseconds(100), "\(trip.milliseconds)")
        #expect(world.network.quality(from: 0, to: 1).latency == far)
        #expect(client.isConnected(host))
        world.expectSound()
    }
}
