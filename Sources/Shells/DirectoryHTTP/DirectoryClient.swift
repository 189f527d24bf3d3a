public import Base
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Why nothing came of a request.
public enum DirectoryFetchError: Error, Hashable, Sendable {
    /// Nobody answers at the address, or not in time.
    case unreachable(Base.SocketAddress, String)
    /// It took too long.
    case timeout(Base.SocketAddress)
    /// The answer is longer than allowed.
    case tooLong(Base.SocketAddress, limit: Int)
    /// The answer is packed, which nobody asked for.
    case encoded(Base.SocketAddress, String)
    /// The server said no.
    case refused(Base.SocketAddress, status: Int, String)
}

/// Asks for the directory over HTTP.
///
/// One connection a request. Written on NIO and not on a ready client, for a client's daemon must
/// mark its sockets before they connect: unmarked ones are held back by its own kill switch.
public struct DirectoryClient: Sendable {
    private let mark: UInt32?

    /// What came back.
    public enum Response: Hashable, Sendable {
        /// Bytes, or the words of an acceptance.
        case bytes([UInt8])
        /// What is known is the newest.
        case notModified
        /// There is no such thing, or none yet.
        case notFound
    }

    /// Marks its sockets with `mark`, where there is one; that needs CAP_NET_ADMIN.
    public init(mark: UInt32? = nil) {
        self.mark = mark
    }

    /// Asks the node at `address`.
    ///
    /// - Parameters:
    ///   - known: the digest of the document at hand, which need not come again.
    ///   - limit: bytes the answer may have.
    ///   - noteTime: told what time it is there, to the second; whatever the answer is.
    /// - Throws: ``DirectoryFetchError``.
    public func send(
        _ request: DirectoryRequest,
        to address: Base.SocketAddress,
        known: Bytes32? = nil,
        limit: Int,
        within time: Duration,
        noteTime: @escaping @Sendable (WallTime) -> Void = { _ in }
    ) async throws(DirectoryFetchError) -> Response {
        do {
            return try await withThrowingTaskGroup(of: Response.self) { group in
                group.addTask {
                    try await exchange(request, address, known, limit, noteTime)
                }
                group.addTask {
                    try await Task.sleep(for: time)
                    throw DirectoryFetchError.timeout(address)
                }
                defer { group.cancelAll() }
                guard let first = try await group.next() else {
                    throw DirectoryFetchError.timeout(address)
                }
                return first
            }
        } catch let error as DirectoryFetchError {
            throw error
        } catch is CancellationError {
            throw .timeout(address)
        } catch {
            throw .unreachable(address, "\(error)")
        }
    }

    private func exchange(
        _ request: DirectoryRequest,
        _ address: Base.SocketAddress,
        _ known: Bytes32?,
        _ limit: Int,
        _ noteTime: @escaping @Sendable (WallTime) -> Void
    ) async throws -> Response {
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(5))
        if let mark {
            bootstrap = bootstrap.channelOption(
                .socketOption(NIOBSDSocket.Option(rawValue: SO_MARK)),
                value: SocketOptionValue(mark)
            )
        }
        let channel = try await bootstrap.connect(
            host: "\(address.ip)",
            port: Int(address.port)
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel
                )
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            var body: ByteBuffer?
            if case .post(_, let bytes) = request { body = ByteBuffer(bytes: bytes) }
            try await outbound.write(.head(head(of: request, body, address, known: known)))
            if let body { try await outbound.write(.body(.byteBuffer(body))) }
            try await outbound.write(.end(nil))
            return try await read(inbound, address, limit: limit, noteTime)
        }
    }

    private func head(
        of request: DirectoryRequest,
        _ body: ByteBuffer?,
        _ address: Base.SocketAddress,
        known: Bytes32?
    ) -> HTTPRequestHead {
        var headers: HTTPHeaders = ["host": "\(address)", "connection": "close"]
        if let known { headers.add(name: "if-none-match", value: "\"\(known.hex)\"") }
        if let body {
            headers.add(name: "content-length", value: "\(body.readableBytes)")
            headers.add(name: "content-type", value: "application/octet-stream")
        }
        return HTTPRequestHead(
            version: .http1_1,
            method: body == nil ? .GET : .POST,
            uri: request.path,
            headers: headers
        )
    }

    private func read(
        _ parts: NIOAsyncChannelInboundStream<HTTPClientResponsePart>,
        _ address: Base.SocketAddress,
        limit: Int,
        _ noteTime: @Sendable (WallTime) -> Void
    ) async throws -> Response {
        var status = 0
        var bytes: [UInt8] = []
        for try await part in parts {
            switch part {
            case .head(let head):
                status = Int(head.status.code)
                if let time = head.headers.first(name: "date").flatMap(HTTPDate.parse) {
                    noteTime(time)
                }
                if let encoding = head.headers.first(name: "content-encoding") {
                    throw DirectoryFetchError.encoded(address, encoding)
                }
                let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
                guard length <= limit else {
                    throw DirectoryFetchError.tooLong(address, limit: limit)
                }
                bytes.reserveCapacity(length)
            case .body(let part):
                guard bytes.count + part.readableBytes <= limit else {
                    throw DirectoryFetchError.tooLong(address, limit: limit)
                }
                bytes += part.readableBytesView
            case .end:
                return try Self.response(status, bytes, address)
            }
        }
        throw DirectoryFetchError.unreachable(address, "the answer broke off")
    }

    private static func response(
        _ status: Int,
        _ bytes: [UInt8],
        _ address: Base.SocketAddress
    ) throws(DirectoryFetchError) -> Response {
        switch status {
        case 200, 202: return .bytes(bytes)
        case 304: return .notModified
        case 404: return .notFound
        default:
            let text = String(decoding: bytes.prefix(512), as: UTF8.self)
            throw .refused(address, status: status, text)
        }
    }
}

extension DirectoryFetchError: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .unreachable(let address, let why): "\(address) does not answer: \(why)"
        case .timeout(let address): "\(address) takes too long"
        case .tooLong(let address, let limit): "\(address) sends more than \(limit) bytes"
        case .encoded(let address, let encoding):
            "\(address) sends a Content-Encoding (\(encoding)), which is not taken"
        case .refused(let address, let status, let text):
            "\(address) refuses (\(status))\(text.isEmpty ? "" : ": \(text)")"
        }
    }
}
