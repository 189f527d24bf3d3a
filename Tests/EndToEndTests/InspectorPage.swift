import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

/// The inspector page of a node, and a browser that looks at it.
struct InspectorPage {
    /// Why there is no browser to drive; `nil` where there is one.
    static let obstacle: String? = {
        for program in ["chromium", "chromium-browser", "google-chrome"] {
            guard (try? CommandRunner.locate(program)) == nil else {
                return (try? CommandRunner.locate("python3")) == nil ? "no python3" : nil
            }
        }
        let loud = "NO CHROMIUM: THE INSPECTOR PAGE IS NOT TESTED (apt-get install chromium)"
        print("\n*** \(loud) ***\n")
        return loud
    }()

    private static let driver = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Tools/browser/inspector").path

    /// The page's address, with the token in it.
    let address: String
    private let program: HostProgram

    /// Serves the page of the node at `socket` until the value is gone.
    init(socket: String, scratch: String) async throws {
        let program = try HostProgram([Lab.umbel, "inspector", "--socket", socket], scratch)
        try await eventually("the page is served: \(program.output)") {
            program.output.contains("token=")
        }
        address = program.output.split(separator: "\n").first.map(String.init) ?? ""
        self.program = program
    }

    /// Does one of the driver's tasks, and returns what it saw.
    func see<Seen: Decodable>(_ task: String, _ more: String..., as type: Seen.Type) async throws
        -> Seen
    {
        let outcome = try await CommandRunner().outcome(
            of: ["python3", Self.driver, task, address] + more,
            timeout: .seconds(180)
        )
        try #require(outcome.status == 0, "\(outcome.message)")
        let line = outcome.output.split(separator: "\n").last ?? ""
        return try JSONDecoder().decode(Seen.self, from: Data(line.utf8))
    }

    /// Begins one of the driver's tasks, which goes on meanwhile.
    func begin(_ task: String, scratch: String) throws -> HostProgram {
        try HostProgram(["python3", Self.driver, task, address], scratch)
    }
}

/// A program outside all labs that runs beside a test.
final class HostProgram: Sendable {
    private let process: ProcessIdentity
    private let path: String

    init(_ command: [String], _ scratch: String) throws {
        path = "\(scratch)/\(UUID().uuidString)"
        process = try DetachedProcess.start(try CommandRunner().command(for: command), log: path)
    }

    deinit {
        process.send(SIGTERM)
        waitpid(process.pid, nil, 0)
    }

    /// What it printed so far, errors too.
    var output: String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}
