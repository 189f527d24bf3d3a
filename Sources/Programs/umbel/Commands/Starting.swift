import ControlAPI
import EventLoop
import Glibc
import HostNetwork
import Logging
import NodeConfiguration
import NodeRuntime
import Store
import UnixSignals

/// A node that runs until it is stopped or fails.
protocol RunningNode: Sendable {
    /// Returns when a part of it has failed, and says why.
    func failure() async -> String?

    /// Ends it in order.
    func stop() async

    /// Returns once its parts have shown that they work; hangs where one of them does.
    func proveAlive() async

    /// What it is doing, in a few words, now and after each change; for the service manager.
    func headlines() async -> AsyncStream<String>
}

extension RunningNode {
    func proveAlive() async {}

    func headlines() async -> AsyncStream<String> {
        AsyncStream { $0.finish() }
    }
}

extension ClientNode: RunningNode {
    func headlines() async -> AsyncStream<String> {
        let updates = await statusUpdates()
        let (lines, line) = AsyncStream.makeStream(
            of: String.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let task = Task {
            for await report in updates { line.yield(StatusText.line(report)) }
            line.finish()
        }
        line.onTermination = { _ in task.cancel() }
        return lines
    }
}

extension RelayNode: RunningNode {
    /// What it carries, twice a minute.
    func headlines() async -> AsyncStream<String> {
        let (lines, line) = AsyncStream.makeStream(
            of: String.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let task = Task {
            while !Task.isCancelled {
                line.yield(RelayText.line(await status()))
                try? await Task.sleep(for: .seconds(30))
            }
            line.finish()
        }
        line.onTermination = { _ in task.cancel() }
        return lines
    }
}
extension AuthorityNode: RunningNode {}
extension MintNode: RunningNode {}

/// Starts of daemons, and their ends.
enum Starting {
    /// Starts a node, serves it on its control socket, and ends it at SIGTERM or when it fails.
    ///
    /// Tells the service manager, where there is one, of all of this. Keys are in this process's memory:
    /// from here on nobody else looks into it.
    /// - Parameters:
    ///   - rootless: what the node says of its rights, see `NodeReport`.
    ///   - start: makes the node; called once nobody else serves at the socket, whose state it may
    ///     then touch.
    ///   - reload: what SIGHUP does; `nil` where nothing can be changed while it runs.
    ///   - serve: puts the node on the server, and calls its last parameter once it takes
    ///     connections.
    /// - Throws: ``Failure`` or ``ConfigurationError``.
    static func serve<Node: RunningNode>(
        _ what: String,
        as role: NodeReport.Role,
        rootless: Bool? = nil,
        on socket: ControlSocket,
        logger: Logger,
        start: () async throws -> Node,
        reload: (@Sendable (Node) async throws -> Void)? = nil,
        _ serve:
            @escaping @Sendable (
                ControlServer, Node, @escaping @Sendable () async -> Void
            ) async throws -> Void
    ) async throws {
        ProcessRights.hideMemory()
        let server = ControlServer(
            path: socket.path,
            group: socket.group,
            node: NodeReport(
                role: role,
                version: Version.number,
                pid: getpid(),
                rootless: rootless
            ),
            logger: logger
        )
        try server.requireFree()
        let node = try await attempt(what, start)
        let manager = ServiceManager.ofThisProcess
        let serving = Task {
            try await serve(server, node) {
                logger.notice("ready on \(socket.path)")
                manager?.send("READY=1")
            }
        }
        // Of their own: a node that hangs does not answer, and must not keep this from ending.
        let reporting: [Task<Void, Never>] = [
            Task { if let manager { await manager.keepFed { await node.proveAlive() } } },
            Task { for await line in await node.headlines() { manager?.say(line) } },
            Task { await reloads(of: node, by: reload, manager: manager, logger: logger) },
        ]
        let failure = await wait(for: serving, orFailureOf: { await node.failure() })
        for task in reporting { task.cancel() }
        manager?.send("STOPPING=1")
        await node.stop()
        try failure.map { throw $0 }
    }

    /// Reads the configuration again at each SIGHUP; what is wrong with it is logged, and the old
    /// one stays.
    private static func reloads<Node: RunningNode>(
        of node: Node,
        by reload: (@Sendable (Node) async throws -> Void)?,
        manager: ServiceManager?,
        logger: Logger
    ) async {
        for await _ in await UnixSignalsSequence(trapping: .sighup) {
            guard let reload else {
                logger.notice("nothing is read again while this runs: start it anew")
                continue
            }
            manager?.sendReloading()
            do {
                try await reload(node)
                logger.notice("configuration read again")
            } catch let error as ConfigurationError {
                for problem in error.problems {
                    logger.error("\(problem.what): \(problem.why); hint: \(problem.hint)")
                }
                logger.error("the configuration that was in force stays in force")
            } catch {
                logger.error("\(error): the configuration that was in force stays in force")
            }
            manager?.send("READY=1")
        }
    }

    /// Runs `body`; what it throws becomes the three lines of an error.
    static func attempt<T>(
        _ what: String,
        _ body: () async throws -> T
    ) async throws -> T {
        do {
            return try await body()
        } catch let error as ConfigurationError {
            throw error
        } catch let error as Failure {
            throw error
        } catch let error as EntropyError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: error.hint,
                exit: .internalFault
            )
        } catch let error as IOError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: error.hint ?? "see the line above",
                exit: error.isPrivilegeMissing ? .permission : .unavailable
            )
        } catch let error as StoreError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: error.hint,
                exit: .unavailable
            )
        } catch let error as HostNetworkError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error.what): \(error.why)",
                hint: error.hint ?? "see the line above",
                exit: .unavailable
            )
        } catch {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: "umbel check-config FILE",
                exit: .unavailable
            )
        }
    }

    /// Waits for a signal, for `serving` to end or for the node to fail; returns what went wrong.
    static func wait(
        for serving: Task<Void, any Error>,
        orFailureOf node: @escaping @Sendable () async -> String?
    ) async -> (any Error)? {
        await withTaskGroup(of: (any Error)?.self) { group in
            group.addTask {
                do {
                    try await serving.value
                    return nil
                } catch {
                    return error
                }
            }
            group.addTask {
                guard let why = await StopSignals.wait(orFailure: node) else { return nil }
                return Failure(
                    "a part of the daemon failed",
                    why: why,
                    hint: "start it again; if it fails again, look at the line above",
                    exit: .internalFault
                )
            }
            let first = await group.next()
            group.cancelAll()
            serving.cancel()
            return first ?? nil
        }
    }
}
