import Foundation
import HostNetwork
import Testing

@Suite("The resolver file comes back exactly (row 38)")
struct ResolverFileTests {
    @Test("a file comes back with its bytes and mode, even when applied twice")
    func file() async throws {
        try await withFolder { folder in
            let path = "\(folder)/resolv.conf"
            let before = Data("nameserver 192.0.2.53\n# kept \u{1F}\n".utf8)
            try before.write(to: URL(fileURLWithPath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
            let resolver = ResolverFile(path: path, stateFolder: "\(folder)/state")
            try resolver.apply()
            try resolver.apply()
            let during = try String(contentsOfFile: path, encoding: .utf8)
            #expect(during.contains("nameserver 10.111.0.1\n"))
            #expect(!during.contains("192.0.2.53"))
            try resolver.restore()
            try resolver.restore()
            #expect(FileManager.default.contents(atPath: path) == before)
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
            #expect((mode as? NSNumber)?.intValue == 0o640)
        }
    }

    @Test("a symbolic link comes back as a link and its target was never written")
    func link() async throws {
        try await withFolder { folder in
            let (path, target) = ("\(folder)/resolv.conf", "\(folder)/stub.conf")
            try Data("stub".utf8).write(to: URL(fileURLWithPath: target))
            try FileManager.default.createSymbolicLink(
                atPath: path,
                withDestinationPath: "stub.conf"
            )
            let resolver = ResolverFile(path: path, stateFolder: "\(folder)/state")
            try resolver.apply()
            #expect(try String(contentsOfFile: target, encoding: .utf8) == "stub")
            #expect(try String(contentsOfFile: path, encoding: .utf8).contains("10.111.0.1"))
            try resolver.restore()
            let back = try FileManager.default.destinationOfSymbolicLink(atPath: path)
            #expect(back == "stub.conf")
        }
    }

    @Test("where there was no file there is none afterwards")
    func absent() async throws {
        try await withFolder { folder in
            let path = "\(folder)/resolv.conf"
            let resolver = ResolverFile(path: path, stateFolder: "\(folder)/state")
            try resolver.apply()
            #expect(FileManager.default.fileExists(atPath: path))
            try resolver.restore()
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test("a file that already asks the tunnel is left alone")
    func already() async throws {
        try await withFolder { folder in
            let path = "\(folder)/resolv.conf"
            try Data(ResolverFile.tunnelText.utf8).write(to: URL(fileURLWithPath: path))
            let resolver = ResolverFile(path: path, stateFolder: "\(folder)/state")
            try resolver.apply()
            #expect(!FileManager.default.fileExists(atPath: resolver.recordPath))
        }
    }
}
