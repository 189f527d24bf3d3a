public import Base
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
import Synchronization

/// Serves the directory on a TCP address.
public struct DirectoryServer: Sendable {
    private let address: Base.SocketAddress
    private let limits: DirectoryLimits
    private let logger: Logger

    /// Makes a server that is not yet running; a port of 0 lets the system choose.
    public init(address: Base.SocketAddress, limits: DirectoryLimits, logger: Logger) {
        self.address = address
        self.limits = limits
        var logger = logger
        // Requests are nobody's business; what goes wrong is the peer's fault.
        logger.logLevel = .error
        self.logger = logger
    }

    /// Serves `service` as long as the process lives.
    ///
    /// Not to be cancelled while others may connect: the library traps on a connection that comes
    /// in while its server ends.
    ///
    /// - Parameter onReady: called once, with the port, when the address takes connections.
    /// - Throws: where the address cannot be bound.
    public func serve(
        _ service: some DirectoryService,
        onReady: @escaping @Sendable (UInt16) async -> Void = { _ in }
    ) async throws {
        let router = Router(context: BasicRequestContext.self)
        router.middlewares.add(EncodingRefusal())
        addRoutes(of: service, to: router)
        let life = TimeAmount(limits.connectionTime)
        let application = Application(
            router: router,
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [ConnectionLife(life)],
                    idleTimeout: TimeAmount(limits.requestTime)
                )
            ),
            configuration: ApplicationConfiguration(
                address: .hostname("\(address.ip)", port: Int(address.port)),
                serverName: nil,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connectionCount)
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

    /// Serves `service` on each of `addresses` as long as the process lives.
    ///
    /// Returns once every address takes connections or has failed.
    /// - Parameter failed: told why an address cannot be served on, or no longer is.
    public static func serve(
        _ service: some DirectoryService,
        on addresses: [Base.SocketAddress],
        limits: DirectoryLimits,
        logger: Logger,
        failed: @escaping @Sendable (String) -> Void
    ) async {
        for address in addresses {
            let server = DirectoryServer(address: address, limits: limits, logger: logger)
            let (ready, isReady) = AsyncStream.makeStream(of: Void.self)
            // Ends with the process.
            Task {
                do {
                    try await server.serve(service) { _ in isReady.finish() }
                } catch {
                    failed("\(address): \(error)")
                }
                isReady.finish()
            }
            for await _ in ready {}
        }
    }

    private func addRoutes(
        of service: some DirectoryService,
        to router: Router<BasicRequestContext>
    ) {
        router.get("umbel/1/consensus") { request, _ in
            Self.response(await service.answer(.newest), to: request)
        }
        router.get("umbel/1/consensus/{digest}") { request, context in
            guard let text = context.parameters.get("digest"), let prefix = [UInt8](hex: text),
                (8...32).contains(prefix.count)
            else { return Response(status: .badRequest) }
            return Self.response(
                await service.answer(.document(digestPrefix: prefix)),
                to: request
            )
        }
        router.get("umbel/1/diff/{digest}") { request, context in
            guard let text = context.parameters.get("digest"), let bytes = [UInt8](hex: text),
                let base = Bytes32(bytes)
            else { return Response(status: .badRequest) }
            return Self.response(await service.answer(.diff(from: base)), to: request)
        }
        router.get("umbel/1/proof") { request, _ in
            Self.response(await service.answer(.proof), to: request)
        }
        let busy = BusyKinds()
        for (post, limit) in limits.bodyByteCounts {
            let isSingle = limits.singleBodies.contains(post)
            router.post("umbel/1/\(post.rawValue)") { request, _ in
                guard !isSingle || busy.begin(post) else {
                    return Self.response(.unavailable("another one is being taken"), to: request)
                }
                defer { if isSingle { busy.end(post) } }
                guard let body = try await body(of: request, limit: limit) else {
                    return Response(status: .contentTooLarge)
                }
                return Self.response(await service.answer(.post(post, body)), to: request)
            }
        }
    }

    /// The body of a request; `nil` when it is longer than `limit`.
    private func body(of request: Request, limit: Int) async throws -> [UInt8]? {
        if let text = request.headers[.contentLength] {
            // What is announced is not waited for.
            guard let length = Int(text), length <= limit else { return nil }
        }
        return try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
            group.addTask {
                var bytes: [UInt8] = []
                for try await part in request.body {
                    guard bytes.count + part.readableBytes <= limit else { return nil }
                    bytes += part.readableBytesView
                }
                return bytes
            }
            group.addTask { [time = limits.requestTime] in
                try await Task.sleep(for: time)
                throw HTTPError(.requestTimeout)
            }
            let first = try await group.next()
            group.cancelAll()
            return first ?? nil
        }
    }

    private static func response(_ answer: DirectoryAnswer, to request: Request) -> Response {
        switch answer {
        case .bytes(let bytes, let tag):
            var headers: HTTPFields = [.contentType: "application/octet-stream"]
            if let tag {
                let text = "\"\(tag.hex)\""
                headers[.eTag] = text
                if request.headers[.ifNoneMatch] == text {
                    return Response(status: .notModified, headers: headers)
                }
            }
            let body = ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
            return Response(status: .ok, headers: headers, body: body)
        case .accepted(let text): return response(.accepted, text)
        case .notFound: return Response(status: .notFound)
        case .refused(let reason): return response(.forbidden, reason)
        case .unavailable(let reason): return response(.serviceUnavailable, reason)
        }
    }

    private static func response(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status,
            headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}

/// Kinds of bodies that are being taken right now.
private final class BusyKinds: Sendable {
    private let kinds = Mutex<Set<DirectoryRequest.Post>>([])

    func begin(_ kind: DirectoryRequest.Post) -> Bool {
        kinds.withLock { $0.insert(kind).inserted }
    }

    func end(_ kind: DirectoryRequest.Post) {
        _ = kinds.withLock { $0.remove(kind) }
    }
}

/// Takes no body that has to be unpacked: the records are keys, and a bomb is easily sent.
private struct EncodingRefusal: RouterMiddleware {
    func handle(
        _ request: Request,
        context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        guard request.headers[.contentEncoding] == nil else {
            return Response(status: .unsupportedMediaType)
        }
        return try await next(request, context)
    }
}

/// Ends a connection after a while, however slowly its peer keeps it busy.
private final class ConnectionLife: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let life: TimeAmount

    init(_ life: TimeAmount) {
        self.life = life
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        context.eventLoop.scheduleTask(in: life) { channel.close(promise: nil) }
    }
}
