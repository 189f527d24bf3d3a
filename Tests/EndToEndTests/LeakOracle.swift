import Base
import Foundation
import Testing

/// Sees whether anything leaves the client of a lab that should not: a canary that sings to everywhere
/// every 10 ms, and a wiretap on the machine's cable.
///
/// Made only once it has heard the canary by every way there is: an oracle that could not see a leak
/// proves nothing.
struct LeakOracle {
    let canary: Canary
    let wiretap: Wiretap
    private let lab: Lab

    /// Web, names, names over TLS, echo; the guards' own ports; all of both families.
    static func targets() throws -> [SocketAddress] {
        let server = ["203.0.113.10", "2001:db8:f::10"]
        let ports: [UInt16] = [80, 53, 853, 7]
        let relays = (1...5).flatMap { ["198.18.\($0).10", "2001:db8:10\($0)::10"] }
        let all =
            server.flatMap { host in ports.map { (host, $0) } } + relays.map { ($0, 4_433) }
        return try all.map { host, port in
            SocketAddress(ip: try #require(IPAddress(host)), port: port)
        }
    }

    /// Disconnects the client, and waits until everything is heard.
    init(_ lab: Lab) async throws {
        self.lab = lab
        try await lab.disconnect()
        let targets = try Self.targets()
        let wiretap = try Wiretap(lab, host: "client")
        canary = try Canary(lab, host: "client", to: targets)
        self.wiretap = wiretap
        try await expectSong("while unlocked")
        #expect(!wiretap.leaks().isEmpty)
    }

    /// Waits until the canary is heard again by every way: the wiretap is not deaf.
    func expectSong(_ what: Comment) async throws {
        wiretap.clear()
        let targets = try Self.targets()
        try await eventually("the canary is heard \(what)") { wiretap.hasHeard(targets) }
    }

    /// Waits until the canary has sung to everybody some more, and expects no leak until then.
    func expectSilence(
        _ what: Comment,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let count = canary.roundCount
        try await eventually("the canary sings") {
            canary.roundCount >= count + 20
        }
        let leaks = Set(wiretap.leaks().map(\.text))
        #expect(leaks.sorted().prefix(5) == [], what, sourceLocation: sourceLocation)
    }
}
