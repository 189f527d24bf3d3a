import AuthorityCore
import Base
import CryptoPrimitives
import Directory
import Testing
import Tickets
import Wire

@Suite("What authorities take of mints")
struct MintRegisterTests {
    private static let network = NetworkID(SHA256.digest(Array("mints".utf8)))
    private static let start = WallTime(seconds: 1_800_000_000)

    private static func key(_ index: Int) -> Ed25519.SigningKey {
        Ed25519.SigningKey(seed: Secret(copying: SHA256.digest([77, UInt8(index)]).bytes))
    }

    private static func announcement(
        _ index: UInt8,
        at wall: WallTime = start,
        epochs: [(UInt32, UInt8)] = [(5, 1)],
        network: NetworkID = network,
        signer: Ed25519.SigningKey? = nil
    ) throws -> MintAnnouncement {
        let key = key(Int(index))
        var announcement = MintAnnouncement(
            network: network,
            index: index,
            key: key.publicKey,
            published: wall,
            sealingKey: .zero,
            addresses: [],
            epochs: epochs.map { epoch, fill in
                .init(
                    epoch: epoch,
                    keys: Denomination.allCases.map { _ in [UInt8](repeating: fill, count: 294) }
                )
            },
            totals: [],
            burnt: 0
        )
        try announcement.sign(with: signer ?? key)
        return announcement
    }

    private func register(_ count: Int = 4) -> MintRegister {
        MintRegister(network: Self.network, keys: (0..<count).map { Self.key($0).publicKey })
    }

    private func refusal(
        _ register: inout MintRegister,
        _ announcement: MintAnnouncement,
        at wall: WallTime = Self.start
    ) -> MintRegister.Refusal? {
        do throws(MintRegister.Refusal) {
            _ = try register.receive(announcement, at: wall)
            return nil
        } catch {
            return error
        }
    }

    @Test("the newest announcement of each mint is kept, and told from a repetition")
    func newest() throws {
        var register = register()
        let first = try Self.announcement(0)
        #expect(try register.receive(first.encoded(), at: Self.start))
        #expect(try !register.receive(first, at: Self.start))
        let later = try Self.announcement(0, at: Self.start + 9, epochs: [(5, 1), (6, 2)])
        #expect(try register.receive(later, at: Self.start + 9))
        #expect(try register.receive(Self.announcement(3), at: Self.start + 9))
        #expect(register.section.announcements.map(\.index) == [0, 3])
        #expect(register.section.announcements.first == later)
        #expect(refusal(&register, first) == .outOfTime)
    }

    @Test("each way in which an announcement can be wrong is refused by name")
    func wrong() throws {
        var register = register(3)
        #expect(try refusal(&register, Self.announcement(3)) == .unknownMint(3))
        var other = try Self.announcement(1)
        other.key = Self.key(2).publicKey
        #expect(refusal(&register, other) == .unknownMint(1))
        #expect(
            try refusal(&register, Self.announcement(1, signer: Self.key(2))) == .unsigned
        )
        var changed = try Self.announcement(1)
        changed.burnt = 1
        #expect(refusal(&register, changed) == .unsigned)
        #expect(
            try refusal(
                &register,
                Self.announcement(1, network: NetworkID(SHA256.digest([1])))
            ) == .otherNetwork
        )
        #expect(
            try refusal(&register, Self.announcement(1, at: Self.start + 121)) == .outOfTime
        )
        do throws(MintRegister.Refusal) {
            _ = try register.receive([1, 2, 3], at: Self.start)
            Issue.record("three bytes are taken")
        } catch {
            guard case .malformed = error else {
                Issue.record("\(error)")
                return
            }
        }
        #expect(register.section.announcements.isEmpty)
    }

    @Test("row 66: a mint that shows another key of an epoch is refused, over a restart too")
    func changedKey() throws {
        var register = register()
        _ = try register.receive(Self.announcement(2, epochs: [(5, 1), (6, 2)]), at: Self.start)
        let other = try Self.announcement(2, at: Self.start + 5, epochs: [(5, 1), (6, 9), (7, 3)])
        #expect(refusal(&register, other, at: Self.start + 5) == .changedKey(epoch: 6))
        var again = self.register()
        again.restore(try MintSection(parsing: register.section.encoded()), at: Self.start + 5)
        #expect(again.section == register.section)
        #expect(refusal(&again, other, at: Self.start + 5) == .changedKey(epoch: 6))
    }
}
