import Base
import ControlAPI
import HostNetwork
import NamespaceSupport
import Testing

@testable import NodeRuntime

private typealias Namespace = NamespaceSupport.NetworkNamespace

@Suite(
    "The leak test sees what leaks, over IPv4 and IPv6",
    .enabled(
        if: Namespace.whyUnavailable == nil,
        "\(Namespace.whyUnavailable ?? "there are namespaces")"
    ),
    .timeLimit(.minutes(1))
)
struct LeakTestTests {
    private let place: Namespace
    private let runner: CommandRunner

    /// A machine with a line of both families and a tunnel nobody answers on.
    init() throws {
        place = try Namespace()
        runner = CommandRunner(namespace: place.name)
        for (name, v4, v6) in [
            ("eth0", "192.168.5.2/24", "2001:db8:5::2/64"),
            ("tun0", "\(TunnelAddresses.clientV4)/32", "\(TunnelAddresses.clientV6)/128"),
        ] {
            // A cable to itself: what leaves by one end comes in at the other, and nowhere else.
            try place.ip("link", "add", name, "type", "veth", "peer", "name", "far-\(name)")
            for end in [name, "far-\(name)"] { try place.ip("link", "set", end, "up") }
            try place.ip("address", "add", v4, "dev", name)
            try place.ip("-6", "address", "add", v6, "dev", name, "nodad")
        }
        try place.ip("route", "add", "default", "via", "192.168.5.1")
        try place.ip("-6", "route", "add", "default", "via", "2001:db8:5::1")
    }

    private func test(_ guardAddress: String, isLocked: Bool) throws -> LeakReport {
        let address = try #require(SocketAddress(guardAddress))
        return try place.inside {
            LeakTest(leadsMachine: true, isLocked: isLocked, guardAddress: address).run()
        }
    }

    private func results(_ report: LeakReport, _ family: String) -> [LeakReport.Check.Result] {
        report.checks.filter { $0.name.hasPrefix("bypass, \(family)") }.map(\.result)
    }

    private static let guards = ["192.0.2.11:4433", "[2001:db8:9::11]:4433"]

    @Test("without a lock both families leak, whichever the guard is reached by", arguments: guards)
    func unlocked(guardAddress: String) throws {
        let report = try test(guardAddress, isLocked: false)
        #expect(results(report, "IPv4") == [.leaking, .leaking], "\(report)")
        #expect(results(report, "IPv6") == [.leaking, .leaking], "\(report)")
        #expect(report.isLeaking)
    }

    @Test(
        "behind the lock nothing leaks, though marked datagrams go to the guard",
        arguments: guards
    )
    func locked(guardAddress: String) async throws {
        try await ClientLock(tunnel: "tun0").apply(with: runner)
        let report = try test(guardAddress, isLocked: true)
        for family in ["IPv4", "IPv6"] {
            #expect(results(report, family) == [.passed, .passed], "\(report)")
        }
        // The way our own datagrams take is there: the kernel refused, it did not lack a route.
        let bypasses = report.checks.filter { $0.name.hasPrefix("bypass") }
        for check in bypasses { #expect(check.detail.hasPrefix("eth0: "), "\(check)") }
    }

    @Test("a rule that lets IPv6 by is seen, also where the guard is reached over IPv4")
    func open() async throws {
        try await ClientLock(tunnel: "tun0").apply(with: runner)
        let table = ClientLock.table.name
        try await runner.run([
            "nft", "insert", "rule", "inet", table, "leave", "meta", "nfproto", "ipv6", "accept",
        ])
        for address in Self.guards {
            let report = try test(address, isLocked: true)
            #expect(results(report, "IPv4") == [.passed, .passed], "\(report)")
            #expect(results(report, "IPv6") == [.leaking, .leaking], "\(report)")
        }
    }

    @Test("a line without IPv6 passes, and says that there is no way out")
    func onlyV4() async throws {
        try await ClientLock(tunnel: "tun0").apply(with: runner)
        try place.ip("-6", "route", "delete", "default")
        let report = try test(Self.guards[0], isLocked: true)
        #expect(results(report, "IPv6") == [.passed, .passed], "\(report)")
        #expect(report.checks.contains { $0.detail == "there is no way out over IPv6 at all" })
    }

    @Test("a machine that is led nowhere has nothing to test")
    func idle() {
        let report = LeakTest(leadsMachine: false, isLocked: false, guardAddress: nil).run()
        #expect(!report.isTested)
        #expect(!report.isLeaking)
    }
}
