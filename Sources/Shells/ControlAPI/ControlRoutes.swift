import Hummingbird
import NIOCore

/// The paths of the API, and the calls they stand for.
enum ControlRoutes {
    /// What every node answers.
    static func router(node: NodeReport, group: UInt32?) -> Router<ControlContext> {
        let router = Router(context: ControlContext.self)
        router.middlewares.add(FailureAnswer())
        router.middlewares.add(PeerCheck(group: group))
        router.get("v1/node") { _, _ in try ReportCoding.response(node) }
        return router
    }

    /// What a relay answers.
    static func add(_ service: some RelayService, to router: Router<ControlContext>) {
        router.get("v1/status") { _, _ in try ReportCoding.response(await service.status()) }
        router.get("v1/stream") { request, _ in
            StateStream.response(request, { StateStream.eachSecond { await service.status() } }) {
                StateStream.message("relay", data: try ReportCoding.encode($0))
            }
        }
        router.post("v1/drain") { request, _ in
            let drain = try await body(DrainRequest.self, of: request)
            guard (0...DrainRequest.secondsLimit).contains(drain.seconds) else {
                throw Failure(
                    "cannot drain for \(drain.seconds) s",
                    why: "a relay waits 0 to \(DrainRequest.secondsLimit) s for its circuits",
                    hint: "ask for less with --within",
                    exit: .usage
                )
            }
            return try ReportCoding.response(await service.drain(drain))
        }
        router.post("v1/keys") { _, _ in
            try ReportCoding.response(await service.rotateKeys())
        }
    }

    /// What an authority answers.
    static func add(_ service: some AuthorityService, to router: Router<ControlContext>) {
        router.get("v1/status") { _, _ in try ReportCoding.response(await service.status()) }
    }

    /// What a mint answers.
    static func add(_ service: some MintService, to router: Router<ControlContext>) {
        router.get("v1/status") { _, _ in try ReportCoding.response(await service.status()) }
        router.get("v1/check") { _, _ in try ReportCoding.response(await service.check()) }
    }

    /// What a relay answers of money.
    static func add(earnings service: some EarningsService, to router: Router<ControlContext>) {
        router.get("v1/earnings") { _, _ in try ReportCoding.response(await service.earnings()) }
    }

    /// What a client's daemon answers of money.
    static func add(wallet service: some WalletService, to router: Router<ControlContext>) {
        router.get("v1/account") { _, _ in try ReportCoding.response(await service.account()) }
        router.post("v1/account/grant") { request, _ in
            try ReportCoding.response(
                await service.submit(body(GrantSubmission.self, of: request))
            )
        }
        router.post("v1/account/transfer") { request, _ in
            try ReportCoding.response(
                await service.transfer(body(TransferRequest.self, of: request))
            )
        }
        router.get("v1/tickets") { _, _ in try ReportCoding.response(await service.tickets()) }
        router.post("v1/tickets/buy") { request, _ in
            try ReportCoding.response(await service.buy(body(BuyRequest.self, of: request)))
        }
        router.post("v1/tickets/backup") { request, _ in
            try ReportCoding.response(await service.backup(body(WalletBackup.self, of: request)))
        }
        router.get("v1/tickets/audit") { _, _ in
            try ReportCoding.response(await service.audit())
        }
    }

    /// What a client's daemon answers.
    static func add(_ service: some ClientService, to router: Router<ControlContext>) {
        router.get("v1/status") { _, _ in try ReportCoding.response(await service.status()) }
        router.get("v1/status/stream") { request, _ in
            Response(
                status: .ok,
                headers: [.contentType: "application/jsonl"],
                body: ResponseBody { writer in
                    try await stream(await service.statusUpdates(), request: request, to: &writer)
                }
            )
        }
        router.get("v1/relays") { _, _ in try ReportCoding.response(await service.relays()) }
        router.get("v1/circuits") { _, _ in try ReportCoding.response(await service.circuits()) }
        router.post("v1/ping") { request, _ in
            let ping = try await body(PingRequest.self, of: request)
            guard (1...PingRequest.countLimit).contains(ping.count), ping.hop ?? 1 >= 1 else {
                throw Failure(
                    "cannot ping \(ping.count) times",
                    why: "a request sends 1 to \(PingRequest.countLimit) pings",
                    hint: "ask for fewer with --count",
                    exit: .usage
                )
            }
            return try ReportCoding.response(await service.ping(ping))
        }
        router.post("v1/exits/measure") { request, _ in
            let survey = try await body(ExitSurveyRequest.self, of: request)
            guard (1...ExitSurveyRequest.countLimit).contains(survey.count) else {
                throw Failure(
                    "cannot measure \(survey.count) exits",
                    why: "a request measures 1 to \(ExitSurveyRequest.countLimit)",
                    hint: "ask for fewer with --count",
                    exit: .usage
                )
            }
            return try ReportCoding.response(await service.measureExits(survey))
        }
        router.post("v1/up") { request, _ in
            try ReportCoding.response(await service.up(body(UpRequest.self, of: request)))
        }
        router.post("v1/down") { _, _ in try ReportCoding.response(await service.down()) }
        router.post("v1/tunnels") { request, context in
            let tunnel = try await body(TunnelRequest.self, of: request)
            let grant = try await service.openTunnel(tunnel, for: peer(of: context))
            return try ReportCoding.response(grant, status: .created)
        }
        router.post("v1/outside") { _, context in
            try ReportCoding.response(await service.goOutside(for: peer(of: context)))
        }
        router.delete("v1/tunnels/{id}") { _, context in
            let id = try context.parameters.require("id", as: UInt64.self)
            try await service.closeTunnel(TunnelID(rawValue: id), for: peer(of: context))
            return Response(status: .noContent)
        }
    }

    /// What a client's daemon answers of what it protects.
    static func add(
        protection service: some ProtectionService,
        to router: Router<ControlContext>
    ) {
        router.post("v1/reconnect") { _, _ in
            try ReportCoding.response(await service.reconnect())
        }
        router.post("v1/lockdown") { request, _ in
            let wanted = try await body(LockdownRequest.self, of: request)
            return try ReportCoding.response(await service.setLockdown(wanted))
        }
        router.post("v1/login") { request, context in
            let wanted = try await body(LoginRequest.self, of: request)
            guard (0...LoginRequest.secondsLimit).contains(wanted.seconds) else {
                throw Failure(
                    "no window of \(wanted.seconds) seconds",
                    why: "one is open for at most \(LoginRequest.secondsLimit)",
                    hint: "umbel login",
                    exit: .usage
                )
            }
            return try ReportCoding.response(
                await service.login(wanted, for: peer(of: context))
            )
        }
        router.post("v1/netcheck") { _, _ in
            try ReportCoding.response(await service.checkNetwork())
        }
        router.get("v1/events") { _, _ in
            var text = ByteBuffer()
            for event in await service.events() {
                text.writeImmutableBuffer(try ReportCoding.encode(event))
                text.writeInteger(UInt8(ascii: "\n"))
            }
            return Response(
                status: .ok,
                headers: [.contentType: "application/jsonl"],
                body: ResponseBody(byteBuffer: text)
            )
        }
        router.get("v1/events/stream") { request, _ in
            Response(
                status: .ok,
                headers: [.contentType: "application/jsonl"],
                body: ResponseBody { writer in
                    try await stream(
                        await service.eventUpdates(),
                        keeping: 1_024,
                        request: request,
                        to: &writer
                    )
                }
            )
        }
    }

    static func body<Value: Decodable>(
        _ type: Value.Type,
        of request: Request
    ) async throws -> Value {
        let text = try await request.body.collect(upTo: ReportCoding.requestLimit)
        return try ReportCoding.decode(type, from: text)
    }

    private static func peer(of context: ControlContext) throws -> PeerCredentials {
        guard let peer = context.peer else {
            throw Failure(
                "the node does not know who asks",
                why: "the kernel named no peer for this connection",
                hint: "ask over the node's Unix socket",
                exit: .permission
            )
        }
        return peer
    }

    /// Writes one line for each of `updates`, until they end or the reader goes away.
    ///
    /// - Parameter count: how many wait for a slow reader; older ones are left out.
    @concurrent private static func stream<Report: Encodable & Sendable>(
        _ updates: AsyncStream<Report>,
        keeping count: Int = 1,
        request: Request,
        to writer: inout any ResponseBodyWriter
    ) async throws {
        let (lines, continuation) = AsyncStream.makeStream(
            of: ByteBuffer.self,
            bufferingPolicy: .bufferingNewest(count)
        )
        let feed = Task {
            defer { continuation.finish() }
            try await request.body.consumeWithCancellationOnInboundClose { _ in
                for await report in updates {
                    var line = try ReportCoding.encode(report)
                    line.writeInteger(UInt8(ascii: "\n"))
                    continuation.yield(line)
                }
            }
        }
        defer { feed.cancel() }
        for await line in lines {
            try await writer.write(line)
        }
        try await writer.finish(nil)
    }
}
