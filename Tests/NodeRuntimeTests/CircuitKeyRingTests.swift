import Base
import CryptoPrimitives
import Foundation
import Testing
import Wire

@testable import NodeRuntime

@Suite("Circuit keys turn once a period (row 67)")
struct CircuitKeyRingTests {
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    @Test("a day has one new key, at the identity's hour, and the old one serves a day longer")
    func turning() throws {
        try withFolder { folder in
            let identity = SHA256.digest(Array("ring".utf8))
            var ring = try CircuitKeyRing(folder: folder, identity: identity)
            let begin: UInt32 = 30_000_000
            var changes: [UInt32] = []
            for minute in stride(from: begin, to: begin + 5 * 1_440, by: 10) {
                if try ring.turn(at: minute, periodSeconds: 86_400) { changes.append(minute) }
                let newest = try #require(ring.newest)
                #expect((1...2).contains(ring.keys.count))
                // Whoever hears of a key now may use it as long as a consensus holds.
                #expect(newest.expiryMinute >= minute + 1_440)
                #expect(newest.expiryMinute <= minute + 2 * 1_440)
                #expect(ring.keys.first?.publicKey == newest.key.publicKey)
            }
            let start = CircuitKeyRing.start(of: identity, at: begin, periodMinutes: 1_440)
            let turns = changes.dropFirst().filter { ($0 - start) % 1_440 < 10 }
            #expect(turns.count == 5)
            let number = identity.bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            #expect(start / 60 % 24 == UInt32(number % 24))
        }
    }

    @Test("keys outlive a restart, and files of old ones are gone")
    func restart() throws {
        try withFolder { folder in
            let identity = SHA256.digest(Array("restart".utf8))
            var ring = try CircuitKeyRing(folder: folder, identity: identity)
            _ = try ring.turn(at: 30_000_000, periodSeconds: 120)
            _ = try ring.turn(at: 30_000_002, periodSeconds: 120)
            let keys = ring.keys.map(\.publicKey)
            #expect(keys.count == 2)
            var again = try CircuitKeyRing(folder: folder, identity: identity)
            #expect(again.keys.map(\.publicKey) == keys)
            let isChanged = try again.turn(at: 30_000_002, periodSeconds: 120)
            let isChangedLater = try again.turn(at: 30_000_010, periodSeconds: 120)
            #expect(!isChanged && isChangedLater)
            #expect(again.keys.count == 1)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 1)
        }
    }

    @Test("hours of identities are spread over the day")
    func spread() {
        let hours = (0..<240).map { index in
            CircuitKeyRing.start(
                of: SHA256.digest([UInt8(index)]),
                at: 30_000_000,
                periodMinutes: 1_440
            ) / 60 % 24
        }
        #expect(Set(hours).count == 24)
    }
}
