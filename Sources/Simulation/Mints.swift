public import Base
import CryptoPrimitives
import MintCore
import Tickets
import Wire

/// How a world pays.
public struct PaySettings: Sendable {
    /// Mints, 3f + 1.
    public var mintCount = 1
    /// Seconds of an epoch.
    public var epochSeconds: UInt32 = 600
    /// Seconds from one deposit of a relay to the next, on average.
    public var depositSeconds: UInt32 = 10
    /// Trial and small vouchers of one purchase.
    public var batch: UInt32 = 16
    /// Ticks each client's account has at the beginning.
    public var grantTicks: UInt64 = 100_000
    /// Time a write to the disk of a node takes.
    public var diskTime: TimeSpan = .milliseconds(2)
    /// Time from a node to a mint.
    public var mintLatency: TimeSpan = .milliseconds(20)

    /// One mint, and money enough.
    public init() {}
}

/// The mints of a world, asked and answered directly: how requests travel is not simulated.
public final class Mints {
    private static let adminKey = Ed25519.SigningKey(seed: secret(99))
    /// Keys by mint, then denomination code; drawn once for all worlds, for a key takes long.
    private static let signingKeys: [[BlindRSA.PrivateKey]] = (0..<4).map { _ in
        Denomination.allCases.map { _ in
            do throws(CryptoError) {
                return try BlindRSA.PrivateKey()
            } catch {
                preconditionFailure("no randomness for a key")
            }
        }
    }

    private static func secret(_ number: UInt8) -> Secret {
        Secret(copying: [UInt8](repeating: number, count: 32))
    }

    private let network: NetworkID
    private var controls: [MintControl] = []
    /// What the consensus says of them.
    let section: MintSection
    private var nextToken: UInt64 = 1
    private var nextGrant: UInt64 = 1

    init(_ settings: PaySettings, network: NetworkID, wall: WallTime) throws {
        self.network = network
        let epoch = UInt32(clamping: wall.seconds / UInt64(settings.epochSeconds))
        let epochs = (epoch > 0 ? epoch - 1 : 0)...epoch + 4
        var announcements: [MintAnnouncement] = []
        for index in 0..<settings.mintCount {
            let key = Ed25519.SigningKey(seed: Self.secret(UInt8(100 + index)))
            var records: [StoredRecord] = []
            for epoch in epochs {
                for (code, key) in Self.signingKeys[index].enumerated() {
                    var writer = ByteWriter(capacity: 5)
                    writer.write(epoch)
                    writer.write(UInt8(code))
                    records.append(
                        StoredRecord(
                            table: MintControl.keyTable,
                            key: writer.bytes,
                            value: key.der
                        )
                    )
                }
            }
            let control = try MintControl(
                identity: MintControl.Identity(
                    network: network,
                    index: UInt8(index),
                    key: key,
                    admins: [Self.adminKey.publicKey],
                    grantThreshold: 1
                ),
                records: records
            )
            announcements.append(
                control.announcement(at: wall, sealingKey: .zero, addresses: [])
            )
            controls.append(control)
        }
        section = MintSection(announcements)
    }

    /// Lets the mints know the network.
    func setNetwork(_ consensus: Consensus) {
        guard let tickets = TicketNetwork(consensus) else { return }
        for index in controls.indices { controls[index].setTickets(tickets) }
    }

    /// Ticks of the vouchers the mint signed that signed most.
    public var issuedTicks: UInt64 {
        controls.map { control in
            control.ledger.epochTotals.reduce(0) { sum, totals in
                Denomination.allCases.reduce(sum) {
                    $0 + UInt64(totals.issued[$1.index]) * UInt64($1.tickCount)
                }
            }
        }.max() ?? 0
    }

    /// Ticks deposited, as the mint has them that has most.
    public var depositedTicks: UInt64 {
        controls.map { control in
            control.ledger.epochTotals.reduce(0) { $0 + $1.deposited.reduce(0, +) }
        }.max() ?? 0
    }

    /// Gives an account money, at every mint.
    func grant(_ ticks: UInt64, to account: Bytes32, at wall: WallTime) {
        var id = [UInt8](repeating: 0, count: 32)
        id[0] = UInt8(truncatingIfNeeded: nextGrant)
        id[1] = UInt8(truncatingIfNeeded: nextGrant >> 8)
        nextGrant += 1
        var grant = MintGrant(
            id: Bytes32(id) ?? .zero,
            account: account,
            amount: Credits(ticks: ticks)
        )
        grant.sign(as: 0, with: Self.adminKey, network: network)
        for index in controls.indices { _ = ask(index, .grant(grant), at: wall) }
    }

    /// What a mint answers; what it tells the others reaches them at once.
    func ask(_ index: Int, _ request: MintRequest, at wall: WallTime) -> MintReply? {
        guard controls.indices.contains(index) else { return nil }
        let token = nextToken
        nextToken += 1
        controls[index].receive(request, token: token, at: wall)
        return settle(index, token: token, at: wall)
    }

    private func settle(_ index: Int, token: UInt64, at wall: WallTime) -> MintReply? {
        var answer: MintReply?
        var told: [(number: UInt64, request: MintRequest)] = []
        while let action = controls[index].nextAction() {
            switch action {
            case .commit: controls[index].committed(true)
            case .job(let job): controls[index].finish(job.run(), at: wall)
            case .reply(token, let reply): answer = reply
            case .tell(let number, let request, _): told.append((number, request))
            case .reply, .announce: break
            }
        }
        for (number, request) in told {
            for other in controls.indices where other != index {
                controls[index].told(number, to: UInt8(clamping: other))
                let token = nextToken
                nextToken += 1
                controls[other].receive(request, token: token, at: wall)
                _ = settle(other, token: token, at: wall)
            }
        }
        return answer
    }
}
