public import Base
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore

/// Whether a node is well, in the three questions service managers ask.
public struct NodeHealth: Sendable {
    /// Whether it has started.
    public var isStarted: Bool
    /// Whether its threads answer.
    public var isAlive: Bool
    /// Why it does not do its work just now; `nil` where it does.
    public var whyNotReady: String?

    /// Puts it together.
    public init(isStarted: Bool, isAlive: Bool, whyNotReady: String?) {
        self.isStarted = isStarted
        self.isAlive = isAlive
        self.whyNotReady = whyNotReady
    }
}

/// What a node tells a ``MetricsServer``.
public protocol MetricsService: Sendable {
    /// Its counters, as text for Prometheus.
    func metrics() async -> String

    /// How it is.
    func health() async -> NodeHealth
}

/// Serves `/metrics`, `/healthz`, `/readyz` and `/startedz` on this machine's loopback.
///
/// Requests that name another host are refused: a web page must not read counters by a name of its
/// own that leads here.
public struct MetricsServer: Sendable {
    private static let connectionLimit = 16
    private let address: Base.SocketAddress
    private let logger: Logger

    /// Makes a server that is not yet running; a port of 0 lets the system choose.
    ///
    /// - Precondition: the address is of the loopback.
    public init(address: Base.SocketAddress, logger: Logger) {
        precondition(Self.isLoopback(address.ip), "metrics are for this machine alone")
        self.address = address
        var logger = logger
        logger.logLevel = .error
        self.logger = logger
    }

    /// Serves `service` as long as the process lives.
    ///
    /// - Parameter onReady: called once, with the port, when the address takes connections.
    /// - Throws: where the address cannot be bound.
    public func serve(
        _ service: some MetricsService,
        onReady: @escaping @Sendable (UInt16) async -> Void = { _ in }
    ) async throws {
        let router = Router(context: BasicRequestContext.self)
        router.middlewares.add(LocalNames())
        router.get("metrics") { _, _ in
            Self.response(await service.metrics(), type: "text/plain; version=0.0.4")
        }
        router.get("healthz") { _, _ in
            let health = await service.health()
            return Self.answer(health.isAlive ? nil : "its threads do not answer")
        }
        router.get("readyz") { _, _ in Self.answer(await service.health().whyNotReady) }
        router.get("startedz") { _, _ in
            Self.answer(await service.health().isStarted ? nil : "it is starting")
        }
        let application = Application(
            router: router,
            configuration: ApplicationConfiguration(
                address: .hostname("\(address.ip)", port: Int(address.port)),
                serverName: nil,
                availableConnectionsDelegate: MaximumAvailableConnections(Self.connectionLimit)
            ),
            onServerRunning: { channel in
                await onReady(UInt16(clamping: channel.localAddress?.port ?? 0))
            },
            logger: logger
        )
        do {
            try await application.run()
        } catch is CancellationError {
            // Stopped as asked.
        }
    }

    /// Whether `ip` is an address of the loopback.
    public static func isLoopback(_ ip: IPAddress) -> Bool {
        ip.v4.map { $0 >> 24 == 127 } ?? (ip.high == 0 && ip.low == 1)
    }

    private static func answer(_ problem: String?) -> Response {
        response((problem ?? "ok") + "\n", type: "text/plain", isWell: problem == nil)
    }

    private static func response(_ text: String, type: String, isWell: Bool = true) -> Response {
        Response(
            status: isWell ? .ok : .serviceUnavailable,
            headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}

/// Refuses requests for a host that is not this one's loopback.
private struct LocalNames: RouterMiddleware {
    func handle(
        _ request: Request,
        context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        guard let host = request.head.authority, Self.isLocal(host) else {
            return Response(status: .misdirectedRequest)
        }
        return try await next(request, context)
    }

    private static func isLocal(_ authority: String) -> Bool {
        if authority.hasPrefix("[") { return authority.hasPrefix("[::1]") }
        let host = authority.prefix { $0 != ":" }
        return host == "localhost" || IPAddress(String(host)).map(MetricsServer.isLoopback) == true
    }
}
