import Foundation
import Testing

@testable import umbel

@Suite("How a missing daemon is started")
struct StartAdviceTests {
    @Test("by the service manager where it runs and has the unit, else by the program (row 72)")
    func advice() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: root) }
        func make(_ folder: String) throws {
            try FileManager.default.createDirectory(
                atPath: "\(root)/\(folder)",
                withIntermediateDirectories: true
            )
        }
        func advice(isUser: Bool = false) -> String {
            StartAdvice.command(unit: "umbel", isUser: isUser, else: "umbel daemon", root: root)
        }
        for scope in ["system", "user"] {
            try make("usr/lib/systemd/\(scope)")
            try Data().write(to: URL(filePath: "\(root)/usr/lib/systemd/\(scope)/umbel.service"))
        }
        #expect(advice() == "umbel daemon")
        try make("run/systemd/system")
        #expect(advice() == "systemctl start umbel")
        #expect(advice(isUser: true) == "systemctl --user start umbel")
        try FileManager.default.removeItem(atPath: "\(root)/usr/lib/systemd/system/umbel.service")
        #expect(advice() == "umbel daemon")
    }
}
