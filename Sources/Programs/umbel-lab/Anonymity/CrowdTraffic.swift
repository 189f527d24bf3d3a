import Anonymity
import CryptoPrimitives
import Foundation
import Workloads

/// What each client of a crowd does, from a seed or from a capture.
struct CrowdTraffic: Sendable {
    /// What it is, for people.
    let title: String
    /// Clients.
    let clients: Int
    /// Seconds of the models.
    let seconds: Double
    /// Where the drawing of chances begins.
    let seed: UInt64
    private let model: TrafficModel
    private let replay: PacketReplay?

    /// Reads the capture, where one is named.
    ///
    /// - Throws: ``LabError`` where it cannot be read or is none.
    init(_ command: AnonymityCommand) throws(LabError) {
        try self.init(
            clients: command.clients,
            seconds: Double(command.seconds),
            seed: command.seed,
            model: command.traffic,
            capture: command.replay
        )
    }

    /// Reads `capture`, where it is not `nil`.
    ///
    /// - Throws: ``LabError`` where it cannot be read or is none.
    init(
        clients: Int,
        seconds: Double,
        seed: UInt64,
        model: TrafficModel,
        capture: String?
    ) throws(LabError) {
        self.clients = clients
        self.seconds = seconds
        self.seed = seed
        self.model = model
        guard let path = capture else {
            (replay, title) = (nil, model.rawValue)
            return
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw LabError(
                "cannot read \(path)",
                why: "there is no such file, or it is closed to us"
            )
        }
        do throws(PacketReplay.Fault) {
            replay = try PacketReplay(parsing: [UInt8](data))
        } catch {
            throw LabError("cannot replay \(path)", why: "\(error)")
        }
        title = "replay of \(URL(fileURLWithPath: path).lastPathComponent)"
    }

    /// A generator for one part of the work; parts do not disturb each other.
    func random(_ part: UInt8) -> RandomGenerator {
        var bytes = [UInt8](repeating: part, count: 32)
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: seed >> (8 * UInt64(index))) }
        return RandomGenerator(seed: Secret(copying: bytes))
    }

    /// What each client does in `seconds`.
    ///
    /// A capture is turned by a random share of its length for each client, and begins anew at its
    /// end.
    func transfers(seconds: Double, random: inout RandomGenerator) -> [[Transfer]] {
        var all: [[Transfer]] = []
        for _ in 0..<clients {
            guard let replay else {
                all.append(model.transfers(seconds: seconds, random: &random))
                continue
            }
            let transfers = replay.transfers
            let length = max(replay.packets.last?.time ?? 0, 0.001) + 0.001
            let shift = random.unit() * length
            var own: [Transfer] = []
            var round = 0.0
            while round * length - shift < seconds, own.count < Self.transferLimit {
                for var transfer in transfers {
                    transfer.time += round * length - shift
                    if (0..<seconds).contains(transfer.time) { own.append(transfer) }
                }
                round += 1
            }
            all.append(own)
        }
        return all
    }

    /// Transfers of a client at most, after which no further round of a capture begins.
    private static let transferLimit = 1_000_000

    /// The crowd as the models take it.
    func experiment(random: inout RandomGenerator) -> ModelExperiment {
        ModelExperiment(
            seconds: seconds,
            transfers: transfers(seconds: seconds, random: &random)
        )
    }
}
