import Base
import Foundation
import HostNetwork
import Testing

/// Why no package can be made and tried here; `nil` where one can.
private let missing: String? = {
    for program in [
        "dpkg-deb", "dpkg", "jq", "gzip", "strip", "chroot", "systemd-sysusers", "systemd-analyze",
    ] {
        guard (try? CommandRunner.locate(program)) != nil else { return "no \(program)" }
    }
    return nil
}()

extension EndToEnd {
    /// The Debian package, on a copy of this machine.
    @Suite(
        "The package",
        .enabled(if: missing == nil, "\(missing ?? "packages can be tried here")"),
        .timeLimit(.minutes(10))
    )
    struct Packages {
        @Test("it installs, a relay and a client run from it, and it goes without a trace")
        func trial() async throws {
            let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
            let tools = root.appendingPathComponent("Tools").path
            let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: false
            )
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let made = try await CommandRunner().outcome(
                of: [
                    "env", "PACKAGE_PROGRAM=\(Lab.umbel)", "PACKAGE_COMPRESSION=0",
                    "\(tools)/package", folder,
                ],
                timeout: .seconds(240)
            )
            try #require(made.status == 0, "\(made.message)")
            let package = try #require(made.output.split(separator: "\n").last.map(String.init))
            let tried = try await CommandRunner().outcome(
                of: ["\(tools)/packaging/try", package],
                timeout: .seconds(240)
            )
            #expect(tried.status == 0, "\(tried.message)")
            #expect(tried.output.hasSuffix("nothing is left\n"), "\(tried.output)")
        }
    }
}
