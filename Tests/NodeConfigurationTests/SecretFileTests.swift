import Foundation
import NodeConfiguration
import Testing

@Suite("Files that hold secrets (matrix row 70)")
struct SecretFileTests {
    @Test("A created secret is read back, and is its owner's alone")
    func roundTrip() throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/identity.key"
        try SecretFile.create(path, Array(0..<64))
        #expect(try SecretFile.read(path) == Array(0..<64))
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }

    @Test("A secret is never overwritten")
    func neverOverwritten() throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/identity.key"
        try SecretFile.create(path, [1])
        #expect(throws: ConfigurationError.self) { try SecretFile.create(path, [2]) }
        #expect(try SecretFile.read(path) == [1])
    }

    @Test("A secret others may touch is refused", arguments: [0o640, 0o604, 0o620, 0o644])
    func openToOthers(mode: Int) throws {
        let folder = try ScratchFolder()
        let path = try folder.write("identity.key", "secret", mode: mode)
        let error = #expect(throws: ConfigurationError.self) { try SecretFile.read(path) }
        #expect(
            error?.description == """
                \(path): mode 0\(String(mode, radix: 8)) lets others at the key
                  a key must be its owner's alone, mode 0600
                  hint: chmod 0600 \(path)
                """
        )
    }

    @Test("What is missing, a folder or too long is no secret")
    func notASecret() throws {
        let folder = try ScratchFolder()
        #expect(throws: ConfigurationError.self) { try SecretFile.read(folder.path + "/absent") }
        #expect(throws: ConfigurationError.self) { try SecretFile.read(folder.path) }
        let long = try folder.write("long.key", String(repeating: "x", count: SecretFile.limit + 1))
        #expect(throws: ConfigurationError.self) { try SecretFile.read(long) }
    }

    @Test("The check of a relay's files finds an open folder, an open key and a missing trust root")
    func fileProblems() throws {
        let folder = try ScratchFolder()
        let relay = try RelayConfiguration(file: folder.write("relay.toml", leastRelay))
        let state = folder.path + "/state"
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: false)
        try FileManager.default.setAttributes([.posixPermissions: 0o750], ofItemAtPath: state)
        let key = try folder.write("state/identity.key", "secret", mode: 0o644)
        #expect(
            relay.fileProblems().map(\.hint) == [
                "ask an authority for its network.toml", "chmod 0700 \(state)", "chmod 0600 \(key)",
            ]
        )

        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: state)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
        _ = try folder.write("network.toml", "")
        #expect(relay.fileProblems().isEmpty)
    }
}
