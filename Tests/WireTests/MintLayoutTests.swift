import Base
import Testing
import Wire

@Suite("Layouts of what mints sign and say")
struct MintLayoutTests {
    private static let wall = WallTime(seconds: 1_800_000_000)

    private static func announcement(_ index: UInt8) -> MintAnnouncement {
        let ip = IPAddress(high: 0x2001_0db8 << 32, low: UInt64(index))
        var announcement = MintAnnouncement(
            network: NetworkID(.zero),
            index: index,
            key: .zero,
            published: wall,
            sealingKey: .zero,
            addresses: Array(repeating: SocketAddress(ip: ip, port: 443), count: 4),
            epochs: (0..<6 as Range<UInt32>).map { epoch in
                .init(
                    epoch: epoch,
                    keys: Denomination.allCases.map { [UInt8](repeating: $0.rawValue, count: 294) }
                )
            },
            totals: (0..<8 as Range<UInt32>).map { epoch in
                var totals = MintAnnouncement.EpochTotals(epoch: epoch)
                for denomination in Denomination.allCases {
                    totals.issued[denomination.index] = epoch + UInt32(denomination.rawValue)
                    totals.deposited[denomination.index] = UInt64(epoch)
                    totals.reclaimed[denomination.index] = UInt64(denomination.tickCount)
                }
                return totals
            },
            burnt: 5
        )
        announcement.signature = [UInt8](repeating: 6, count: 64)
        return announcement
    }

    @Test("codes 0 to 3 are denominations, and no other")
    func denominations() throws {
        let ticks = try (0..<4 as Range<UInt8>).map { try Denomination.split($0).0.tickCount }
        #expect(ticks == [64, 1_024, 16, 8_192])
        let (bulk, version) = try Denomination.split(0x23)
        #expect(bulk == .bulk && version == 2)
        for code in 4..<16 as Range<UInt8> {
            #expect(throws: WireError.unknown(field: "denomination", value: UInt64(code))) {
                try Denomination.split(code)
            }
        }
    }

    @Test("what is left of a voucher comes back in as few as there can be, all but less than a T")
    func change() {
        #expect(Denomination.change(for: 15).isEmpty)
        #expect(Denomination.change(for: 60) == [.trial, .trial, .trial])
        #expect(Denomination.change(for: 1_024 + 64 + 31) == [.large, .small, .trial])
        for ticks in 0...Denomination.bulk.tickCount {
            let parts = Denomination.change(for: ticks)
            let sum = parts.reduce(0) { $0 + $1.tickCount }
            guard sum <= ticks, ticks - sum < 16, parts.count <= TicketLimits.orderCount else {
                Issue.record("\(parts) for \(ticks)")
                return
            }
        }
    }

    @Test("the longest announcement is read as it was written, and ten of them fit into a diff")
    func announcements() throws {
        let all = (0..<10 as Range<UInt8>).map { Self.announcement($0) }
        let bytes = try all[0].encoded()
        #expect(bytes.count > 8_000 && bytes.count <= MintAnnouncement.maximumByteCount)
        #expect(try MintAnnouncement(parsing: bytes) == all[0])
        func consensus(_ mints: [MintAnnouncement]) -> Consensus {
            Consensus(
                network: NetworkID(.zero),
                validAfter: Self.wall,
                freshUntil: Self.wall + 10,
                validUntil: Self.wall + 30,
                parameters: .lab,
                previousDigest: .zero,
                logSize: 0,
                logRoot: .zero,
                relays: [],
                mints: MintSection(mints)
            )
        }
        let (old, new) = (consensus([]), consensus(all))
        let diff = ConsensusDiff(from: old, .zero, to: new, .zero, signatures: [])
        #expect(try diff.encoded().count > 1 << 16)
        let chain = ConsensusDiffChain([diff])
        let made = try ConsensusDiffChain(parsing: chain.encoded()).diffs[0].applied(to: old)
        #expect(made == new)
    }
}
