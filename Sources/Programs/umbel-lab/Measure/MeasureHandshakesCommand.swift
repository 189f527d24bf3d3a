import ArgumentParser
import Base
import Circuits
import CryptoPrimitives
import EventLoop
import Onion
import Wire

/// `umbel-lab measure handshakes`: key work of circuits on one processor.
struct MeasureHandshakesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "handshakes",
        abstract: "CREATEs a second a relay answers, and circuits a second a client begins."
    )

    @Option(help: "Handshakes in each run.")
    var count = 1_000
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (10...100_000).contains(count), (1...100).contains(options.runs) else {
            throw ValidationError("--count is 10 to 100000, --runs 1 to 100")
        }
    }

    func run() throws {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 1, count: 32)))
        let key = try XWing.PrivateKey(seed: random.secret(byteCount: 32))
        let network = NetworkID(.zero)
        let relay = NodeID(random.bytes32())
        let target = HandshakeTarget(
            role: .circuit,
            network: network,
            relay: relay,
            publicKey: key.publicKey
        )
        let hop = HopTarget(network: network, relay: relay, publicKey: key.publicKey)
        let body = try BuildWork(targets: [hop, hop, hop], minute: 1_000, random: &random)
            .run()[0].body
        var answers: [Double] = []
        var builds: [Double] = []
        for _ in 0..<options.runs {
            let policy = CreatePolicy(
                minute: 1_000,
                uncleanBootMinute: 0,
                canJudgeReplays: true,
                answer: ServerMessage(status: .accepted)
            )
            answers.append(
                try rate(count) {
                    _ = try CreateWork(
                        body: body,
                        target: target,
                        key: key,
                        ephemeral: random.secret(byteCount: 32),
                        policy: policy
                    ).run()
                }
            )
            builds.append(
                try rate(count / 3) {
                    _ = try BuildWork(targets: [hop, hop, hop], minute: 1_000, random: &random)
                        .run()
                }
            )
        }
        try Measurement.show(
            [
                Measurement("relay answers CREATE", unit: "1/s", answers),
                Measurement("client begins circuits", unit: "1/s", builds),
            ],
            options
        )
    }

    private func rate(_ count: Int, _ body: () throws -> Void) rethrows -> Double {
        let begun = MonotonicClock.now()
        for _ in 0..<count { try body() }
        return Double(count) / (MonotonicClock.now() - begun).seconds
    }
}
