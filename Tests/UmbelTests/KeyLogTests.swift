import Base
import Circuits
import ClientCore
import CryptoPrimitives
import Foundation
import Links
import Testing
import Wire

@testable import NodeRuntime
@testable import umbel

@Suite("Keys written down for umbel inspect")
struct KeyLogTests {
    private let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        .path

    private func secret(_ byte: UInt8) -> Secret {
        Secret(copying: [UInt8](repeating: byte, count: 32))
    }

    @Test("What a client's node writes is what the decoder reads, and nobody else may")
    func roundTrip() throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let log = try KeyLog(path: path)
        let circuit = CircuitID(rawValue: 1)
        log.note(.setEarly(circuit, .second, key: secret(1), start: 0))
        log.note(
            .setKeys(circuit, .third, forward: secret(2), backward: secret(3), start: 0)
        )
        let session = NewSession(
            local: try #require(SessionID(rawValue: 0x12)),
            remote: try #require(SessionID(rawValue: 0xfedc_ba98)),
            keys: SessionKeys(
                forward: secret(4),
                backward: secret(5),
                exporter: secret(6),
                isInitiator: true
            ),
            isConfirmed: true
        )
        log.note(.renewLink(LinkID(rawValue: 1), session))
        log.note(.removeCircuit(circuit))

        let text = try String(contentsOfFile: path, encoding: .utf8)
        let keys = try RevealedKeys(text, name: path)
        #expect(keys.layers.map(\.hop) == [2, 3, 3])
        #expect(keys.layers.map(\.epoch) == [0, 1, 1])
        #expect(keys.layers.map(\.isForward) == [true, true, false])
        #expect(keys.layers[2].key.isEqual(to: secret(3)))
        let link = try #require(keys.links.first)
        #expect(link.local == 0x12 && link.remote == 0xfedc_ba98)
        #expect(link.sendHeader.isEqual(to: secret(4)))
        #expect(link.receiveHeader.isEqual(to: secret(5)))

        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(throws: KeyLogError.self) { try KeyLog(path: path) }
    }
}
