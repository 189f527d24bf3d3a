import AsyncHTTPClient
import Base
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks a running node over its control socket.
///
/// Every call fails with a ``Failure`` fit to be shown: within ``timeout`` where nobody answers,
/// at once where nobody listens.
public struct ControlClient: Sendable {
    /// How long a node may take to answer what it knows already.
    public static let timeout = Duration.seconds(2)
    /// How long a node may take to change the machine, by the system's own tools, or to build a
    /// circuit for a tunnel.
    static let changeTimeout = Duration.seconds(60)
    /// Bytes a line of a stream may have, at most.
    static let lineLimit = 1_048_576

    private let path: String
    private let start: String

    static let http = HTTPClient(
        eventLoopGroupProvider: .singleton,
        configuration: {
            var configuration = HTTPClient.Configuration()
            configuration.connectionPool.retryConnectionEstablishment = false
            return configuration
        }()
    )

    /// Makes a client of the socket at `path`.
    ///
    /// - Parameter start: the command that starts the node, for the hint when none runs.
    public init(path: String, start: String) {
        self.path = path
        self.start = start
    }

    /// What kind of node answers.
    public func node() async throws(Failure) -> NodeReport {
        try await send(.GET, "/v1/node")
    }

    /// The state of a client's daemon.
    public func status() async throws(Failure) -> StatusReport {
        try await send(.GET, "/v1/status")
    }

    /// The state of a relay.
    public func relayStatus() async throws(Failure) -> RelayStatusReport {
        try await send(.GET, "/v1/status")
    }

    /// Has a relay end its circuits, or serve again.
    public func drain(_ request: DrainRequest) async throws(Failure) -> RelayStatusReport {
        try await order(.POST, "/v1/drain", request)
    }

    /// Has a relay use another circuit key.
    public func rotateKeys() async throws(Failure) -> KeyRotationReport {
        try await order(.POST, "/v1/keys")
    }

    /// The state of an authority.
    public func authorityStatus() async throws(Failure) -> AuthorityStatusReport {
        try await send(.GET, "/v1/status")
    }

    /// The state of a mint.
    public func mintStatus() async throws(Failure) -> MintStatusReport {
        try await send(.GET, "/v1/status")
    }

    /// Whether a mint's books agree with each other.
    public func mintCheck() async throws(Failure) -> MintCheckReport {
        try await order(.GET, "/v1/check")
    }

    /// What a relay earned.
    public func earnings() async throws(Failure) -> EarningsReport {
        try await send(.GET, "/v1/earnings")
    }

    /// How a client's account stands; the mints are asked.
    public func account() async throws(Failure) -> AccountReport {
        try await order(.GET, "/v1/account")
    }

    /// Brings a grant to the mints.
    public func submit(_ grant: GrantSubmission) async throws(Failure) -> AccountReport {
        try await order(.POST, "/v1/account/grant", grant)
    }

    /// Gives money to another account.
    public func transfer(_ request: TransferRequest) async throws(Failure) -> AccountReport {
        try await order(.POST, "/v1/account/transfer", request)
    }

    /// A client's vouchers.
    public func tickets() async throws(Failure) -> TicketsReport {
        try await send(.GET, "/v1/tickets")
    }

    /// Buys vouchers.
    public func buy(_ request: BuyRequest) async throws(Failure) -> TicketsReport {
        try await order(.POST, "/v1/tickets/buy", request)
    }

    /// The wallet, sealed under a key.
    public func backup(_ request: WalletBackup) async throws(Failure) -> WalletBackup {
        try await order(.POST, "/v1/tickets/backup", request)
    }

    /// What the mints' totals say.
    public func audit() async throws(Failure) -> AuditReport {
        try await send(.GET, "/v1/tickets/audit")
    }

    /// The relays a client's daemon knows.
    public func relays() async throws(Failure) -> RelayListReport {
        try await send(.GET, "/v1/relays")
    }

    /// Measures round trips to exits.
    public func measureExits(
        _ request: ExitSurveyRequest
    ) async throws(Failure) -> RelayListReport {
        // Circuits to exits that do not answer are given up after some seconds.
        try await send(.POST, "/v1/exits/measure", request, within: Self.timeout * 4)
    }

    /// The circuits of a client's daemon.
    public func circuits() async throws(Failure) -> CircuitsReport {
        try await send(.GET, "/v1/circuits")
    }

    /// Measures round trips over the active circuit.
    public func ping(_ request: PingRequest) async throws(Failure) -> PingReport {
        // A ping that is lost is given up after two seconds at most.
        let timeout = Self.timeout * (max(request.count, 0) + 1)
        return try await send(.POST, "/v1/ping", request, within: timeout)
    }

    /// Begins to connect the machine.
    public func up(_ request: UpRequest) async throws(Failure) -> StatusReport {
        try await order(.POST, "/v1/up", request)
    }

    /// Disconnects the machine.
    public func down() async throws(Failure) -> StatusReport {
        try await order(.POST, "/v1/down")
    }

    /// Leaves all circuits for others.
    public func reconnect() async throws(Failure) -> StatusReport {
        try await order(.POST, "/v1/reconnect")
    }

    /// Turns lockdown on or off.
    public func setLockdown(_ request: LockdownRequest) async throws(Failure) -> StatusReport {
        try await order(.POST, "/v1/lockdown", request)
    }

    /// Opens or closes the window for a network's login page.
    public func login(_ request: LoginRequest) async throws(Failure) -> StatusReport {
        try await order(.POST, "/v1/login", request)
    }

    /// Measures the network the daemon is in.
    public func checkNetwork() async throws(Failure) -> NetworkReport {
        try await order(.POST, "/v1/netcheck")
    }

    /// Opens a tunnel for a process.
    public func openTunnel(_ request: TunnelRequest) async throws(Failure) -> TunnelGrant {
        try await order(.POST, "/v1/tunnels", request)
    }

    /// Lets this process, and the children it will have, go beside the machine's tunnel.
    public func goOutside() async throws(Failure) -> StatusReport {
        try await order(.POST, "/v1/outside")
    }

    /// Closes a tunnel.
    public func closeTunnel(_ id: TunnelID) async throws(Failure) {
        _ = try await exchange(.DELETE, "/v1/tunnels/\(id.rawValue)", nil, within: Self.timeout)
    }

    /// Hands the state to `handle`, now and after every change, until it returns false.
    public func watchStatus(
        _ handle: (StatusReport) async throws -> Bool
    ) async throws {
        try await readLines("/v1/status/stream", handle)
    }

    /// Hands what happened lately to `handle`, oldest first, until it returns false.
    ///
    /// - Parameter follows: whether what happens from then on is handed over too.
    public func readEvents(
        follows: Bool,
        _ handle: (EventReport) async throws -> Bool
    ) async throws {
        try await readLines(follows ? "/v1/events/stream" : "/v1/events", handle)
    }

    /// Reads a report from each line of the answer to `target`.
    private func readLines<Report: Decodable>(
        _ target: String,
        _ handle: (Report) async throws -> Bool
    ) async throws {
        let response: HTTPClientResponse
        do {
            response = try await Self.http.execute(
                request(.GET, target, nil),
                timeout: TimeAmount(Self.timeout)  // To the first byte; the stream has no end.
            )
        } catch {
            throw failure(for: error)
        }
        guard response.status == .ok else {
            throw try await refusal(response)
        }
        var pending = ByteBuffer()
        do {
            for try await part in response.body {
                pending.writeImmutableBuffer(part)
                while let end = pending.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                    let count = end - pending.readerIndex
                    guard let line = pending.readSlice(length: count) else { break }
                    pending.moveReaderIndex(forwardBy: 1)
                    guard try await handle(read(line)) else { return }
                }
                guard pending.readableBytes <= Self.lineLimit else {
                    throw misunderstood("a line of its stream is too long")
                }
                pending.discardReadBytes()
            }
        } catch let error as HTTPClientError {
            throw failure(for: error)
        }
    }

    /// Asks for something that takes its time, once the node has shown that it is there.
    func order<Answer: Decodable>(
        _ method: HTTPMethod,
        _ target: String,
        _ body: (any Encodable)? = nil
    ) async throws(Failure) -> Answer {
        _ = try await node()
        return try await send(method, target, body, within: Self.changeTimeout)
    }

    func send<Answer: Decodable>(
        _ method: HTTPMethod,
        _ target: String,
        _ body: (any Encodable)? = nil,
        within timeout: Duration = Self.timeout
    ) async throws(Failure) -> Answer {
        try read(await exchange(method, target, body, within: timeout))
    }

    private func exchange(
        _ method: HTTPMethod,
        _ target: String,
        _ body: (any Encodable)?,
        within timeout: Duration
    ) async throws(Failure) -> ByteBuffer {
        do {
            let text = try body.map { try ReportCoding.encode($0) }
            let request = request(method, target, text)
            return try await Self.limited(to: timeout) {
                let response = try await Self.http.execute(request, deadline: .distantFuture)
                guard (200..<300).contains(response.status.code) else {
                    throw try await refusal(response)
                }
                return try await response.body.collect(upTo: ReportCoding.reportLimit)
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw failure(for: error)
        }
    }

    /// Runs `operation`, and gives it up after `timeout`.
    static func limited<Result: Sendable>(
        to timeout: Duration,
        _ operation: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await operation() }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw HTTPClientError.deadlineExceeded
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw HTTPClientError.cancelled }
            return result
        }
    }

    func request(
        _ method: HTTPMethod,
        _ target: String,
        _ body: ByteBuffer?
    ) -> HTTPClientRequest {
        let socket = path.utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + [byte].hex.uppercased()
        }
        var request = HTTPClientRequest(url: "http+unix://\(socket.joined())\(target)")
        request.method = method
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(body)
        }
        return request
    }

    private func refusal(_ response: HTTPClientResponse) async throws -> Failure {
        let text = try await response.body.collect(upTo: ReportCoding.requestLimit)
        let failure = try? ReportCoding.decode(Failure.self, from: text)
        return failure ?? misunderstood("it answered \(response.status)")
    }

    private func read<Answer: Decodable>(_ text: ByteBuffer) throws(Failure) -> Answer {
        let version = try? ReportCoding.decode(SchemaVersion.self, from: text)
        guard let version else {
            throw misunderstood("its answer is not a report")
        }
        guard version.schema == reportSchema else {
            throw misunderstood("it speaks schema \(version.schema), not \(reportSchema)")
        }
        do {
            return try ReportCoding.decode(Answer.self, from: text)
        } catch {
            throw misunderstood("its answer is not the report that was asked for")
        }
    }

    private func misunderstood(_ why: String) -> Failure {
        Failure(
            "the node at \(path) is not understood",
            why: why,
            hint: "run the same version of `umbel` here and there: restart the node",
            exit: .unavailable
        )
    }

    func failure(for error: any Error) -> Failure {
        if let error = error as? IOError {
            return failure(forErrno: error.errnoCode)
        }
        if let error = error as? NIOConnectionError,
            let cause = error.connectionErrors.first?.error as? IOError
        {
            return failure(forErrno: cause.errnoCode)
        }
        switch error as? HTTPClientError {
        case .deadlineExceeded, .connectTimeout, .readTimeout:
            return unavailable("it did not answer within the time allowed")
        case .cancelled:
            return Failure(
                "interrupted",
                why: "the command was stopped before the node answered",
                hint: "run it again",
                exit: .interrupted
            )
        default:
            return unavailable("\(error)")
        }
    }

    private func failure(forErrno code: Int32) -> Failure {
        switch code {
        case ENOENT, ECONNREFUSED:
            return unavailable("nobody answers at its socket")
        case EACCES, EPERM:
            return Failure(
                "this user may not use the socket \(path)",
                why: "it is open to its owner and its group",
                hint: "run it with sudo, or join the group of the socket and log in again",
                exit: .permission
            )
        default:
            return unavailable(unsafe String(cString: strerror(code)))
        }
    }

    private func unavailable(_ why: String) -> Failure {
        Failure(
            "no node at \(path)",
            why: why,
            hint: "start it with `\(start)`",
            exit: .unavailable
        )
    }
}

/// The part of a report that says how to read the rest.
private struct SchemaVersion: Decodable {
    let schema: Int
}

extension TimeAmount {
    fileprivate init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
