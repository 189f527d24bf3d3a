import Base
import Foundation
import Simulation
import Testing

/// Draws of a test's own, the same in every run.
struct TestDraws {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1
    }

    mutating func next(below bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
    }

    mutating func chance(_ percent: UInt64) -> Bool {
        next(below: 100) < percent
    }
}

extension World {
    /// Everything that must hold in every world, at the end of a test.
    func expectSound(sourceLocation: SourceLocation = #_sourceLocation) {
        let seed = settings.seed
        #expect(
            checker.violations.map(\.description) == [],
            "seed=\(seed)",
            sourceLocation: sourceLocation
        )
    }

    /// A client with one connected tunnel.
    func connectedClient(
        within span: TimeSpan = .seconds(10),
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> (ClientNode, ClientHost) {
        let client = addClient()
        let host = client.openTunnel()
        try #require(
            run(within: span) { client.isConnected(host) },
            "seed=\(settings.seed): not connected",
            sourceLocation: sourceLocation
        )
        return (client, host)
    }
}
