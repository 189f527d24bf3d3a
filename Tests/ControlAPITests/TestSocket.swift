import ControlAPI
import Foundation
import Logging

/// A folder for one test's socket, removed with the value.
final class TestSocket {
    let folder: String
    var path: String { folder + "/control.sock" }

    init() throws {
        // Short: a socket's path has at most 107 bytes.
        folder = "/tmp/umbel-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: false
        )
    }

    deinit {
        try? FileManager.default.removeItem(atPath: folder)
    }

    var client: ControlClient {
        ControlClient(path: path, start: "umbel daemon --config F")
    }

    func server(group: String? = nil) -> ControlServer {
        ControlServer(
            path: path,
            group: group,
            node: NodeReport(role: .client, version: "0.1", pid: getpid()),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    /// Runs `operation` while `service` is served, and stops the server before it returns.
    func serving(
        _ service: some ClientService,
        group: String? = nil,
        _ operation: (ControlClient) async throws -> Void
    ) async throws {
        let server = server(group: group)
        try await serving(
            { ready in try await server.serve(service, onReady: ready) },
            operation
        )
    }

    /// Runs `operation` while `serve` does.
    func serving(
        _ serve: @escaping @Sendable (@escaping @Sendable () async -> Void) async throws -> Void,
        _ operation: (ControlClient) async throws -> Void
    ) async throws {
        let (ready, becameReady) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            defer { becameReady.finish() }
            try await serve { becameReady.finish() }
        }
        for await _ in ready {}
        let result: Result<Void, any Error>
        do {
            result = .success(try await operation(client))
        } catch {
            result = .failure(error)
        }
        task.cancel()
        try await task.value
        try result.get()
    }
}
