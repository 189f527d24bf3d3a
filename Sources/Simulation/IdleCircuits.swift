import Base
import Circuits
import ClientCore
import CryptoPrimitives
import Directory
import Onion
import RelayCore
import Wire

/// Circuits that are made and never used, for what one costs a relay.
public struct IdleCircuits {
    private let client: ClientNode
    private let relay: RelayNode
    private var nextNumber: UInt32 = 0x4000_0000

    /// CREATEs a second: no more than a relay takes of one client.
    private static let batchCount = 4

    /// Begins with the first hop of the circuit that `host` of `client` uses.
    ///
    /// - Returns: `nil` where it has none.
    public init?(of client: ClientNode, _ host: ClientHost) {
        guard let relay = client.currentPath(of: host).first else { return nil }
        self.client = client
        self.relay = relay
    }

    /// Circuits that stand at the relay.
    public var standingCount: Int { relay.control.circuitCount }

    /// Makes `count` circuits of one hop at the relay, with key work and all; the client keeps
    /// nothing of them.
    ///
    /// - Throws: `HandshakeError` where a first message cannot be made.
    public mutating func add(_ count: Int) throws {
        let target = HopTarget(
            network: client.world.view.network,
            relay: relay.member.id,
            publicKey: relay.member.circuitKey.publicKey
        )
        var random = client.world.splitRandom()
        var left = count
        while left > 0 {
            for _ in 0..<min(left, Self.batchCount) {
                let work = BuildWork(
                    targets: [target, target, target],
                    minute: client.world.wall.minute,
                    random: &random
                )
                let number = CircuitNumber(rawValue: nextNumber | 1 << 31)
                nextNumber += 1
                client.create(try work.run()[0].body.encoded, number, at: relay)
            }
            left -= min(left, Self.batchCount)
            client.world.run(for: .seconds(1))
        }
    }
}
