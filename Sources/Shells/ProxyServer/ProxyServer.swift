// ProxyServer: a SOCKS 5 and HTTP proxy whose connections outwards are made in networks given to it.
//
// Duty: take connections at sockets it is given, read what their clients want (`ProxyHandshake`),
// have a network for the client's credentials (`ProxyNetwork`), connect or make UDP sockets in that
// network alone, and carry bytes and datagrams.
// Not its duty: namespaces, tunnels and who may use it; it logs neither clients nor destinations.
//
// One connection's way: accepted on a thread of its own loops, its handshake read with a time limit;
// the network's event loop, whose thread lives in the network's namespace, makes the socket that
// leads out; two tasks carry bytes, each waiting until the other end takes them.

public import Base
public import NIOCore
import NIOPosix
import Synchronization

/// Where the connections of one group of clients are made.
public protocol ProxyNetwork: Sendable {
    /// A loop whose thread makes sockets in this network.
    var eventLoop: any EventLoop { get }

    /// The addresses of `name`, resolved in this network; empty where it has none.
    func addresses(of name: String) async -> [IPAddress]
}

/// The proxy.
public final class ProxyServer: Sendable {
    /// Connections at a time, at most.
    public static let connectionLimit = 512
    /// How long a client may take to say what it wants.
    private static let handshakeLimit = Duration.seconds(15)
    /// How long the other end may take to answer, each of its addresses.
    private static let connectLimit = TimeAmount.seconds(15)
    /// Addresses of a name that are tried.
    private static let addressLimit = 4

    /// Finds the network of a client's credentials; `nil` where there can be none now.
    public typealias NetworkSource =
        @Sendable (ProxyCredentials?) async -> (any ProxyNetwork)?

    private let connectionLimit: Int
    private let networks: NetworkSource
    let relays: RelaySockets
    private let loops: any EventLoopGroup
    private let connectionCount = Atomic(0)

    /// Makes a proxy.
    ///
    /// - Parameters:
    ///   - relays: UDP sockets at the loopback of the clients' network; as many clients can send
    ///     datagrams at a time. Owned by the proxy.
    ///   - networks: called for every connection.
    public init(
        relays: [CInt],
        connectionLimit: Int = connectionLimit,
        networks: @escaping NetworkSource
    ) {
        self.relays = RelaySockets(relays)
        self.connectionLimit = connectionLimit
        self.networks = networks
        loops = MultiThreadedEventLoopGroup.singleton
    }

    /// Serves clients at `listeners`, which it owns from now on, until the task is cancelled.
    public func serve(listeners: [CInt]) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for listener in listeners {
                group.addTask { try await self.serve(listener) }
            }
        }
    }

    private func serve(_ listener: CInt) async throws {
        let server = try await ServerBootstrap(group: loops)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .bind(listener) { channel in
                channel.eventLoop.makeCompletedFuture { try ByteChannel(wrapping: channel) }
            }
        try await server.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    let count = connectionCount.add(1, ordering: .relaxed).newValue
                    guard count <= connectionLimit else {
                        connectionCount.subtract(1, ordering: .relaxed)
                        group.addTask { try? await connection.stream.executeThenClose { _, _ in } }
                        continue
                    }
                    group.addTask {
                        // What goes wrong with one connection ends that connection.
                        try? await self.serve(connection)
                        self.connectionCount.subtract(1, ordering: .relaxed)
                    }
                }
            }
        }
    }

    private func serve(_ client: ByteChannel) async throws {
        try await client.stream.executeThenClose { inbound, outbound in
            var iterator = inbound.makeAsyncIterator()
            var handshake = ProxyHandshake()
            let limit = Task {
                try await Task.sleep(for: Self.handshakeLimit)
                client.channel.close(mode: .all, promise: nil)
            }
            defer { limit.cancel() }
            let request: ProxyRequest
            do throws(ProxyError) {
                request = try await Self.request(&handshake, &iterator, outbound)
            } catch {
                let answer = error.answer
                if !answer.isEmpty { try await outbound.write(ByteBuffer(bytes: answer)) }
                return
            }
            limit.cancel()
            guard let network = await networks(handshake.credentials) else {
                return try await outbound.write(ByteBuffer(bytes: request.answer(.unavailable)))
            }
            if request.action == .associate {
                let association = UDPAssociation(
                    relays: relays,
                    loops: loops,
                    network: network,
                    request: request
                )
                return try await association.run(until: &iterator, answer: outbound)
            }
            let remote: ByteChannel
            switch await Self.connect(request, in: network) {
            case .success(let channel): remote = channel
            case .failure(let refusal):
                return try await outbound.write(
                    ByteBuffer(bytes: request.answer(refusal.outcome))
                )
            }
            try await Self.carry(
                (client.channel, handshake.remainder, request),
                &iterator,
                outbound,
                remote
            )
        }
    }

    /// Reads what the client wants, and answers on the way.
    private static func request(
        _ handshake: inout ProxyHandshake,
        _ iterator: inout ByteChannel.Inbound.AsyncIterator,
        _ outbound: ByteChannel.Outbound
    ) async throws(ProxyError) -> ProxyRequest {
        while true {
            switch try handshake.next() {
            case .request(let request): return request
            case .answer(let bytes):
                do {
                    try await outbound.write(ByteBuffer(bytes: bytes))
                } catch {
                    throw .malformed
                }
            case .more:
                let bytes = try? await iterator.next(isolation: #isolation)
                // It has gone, or said nothing in time.
                guard let bytes else { throw .malformed }
                handshake.receive(bytes.readableBytesView)
            }
        }
    }

    /// Why there is no connection.
    private struct Refusal: Error {
        var outcome: ProxyRequest.Outcome
    }

    private static func connect(
        _ request: ProxyRequest,
        in network: any ProxyNetwork
    ) async -> Result<ByteChannel, Refusal> {
        let addresses: [IPAddress]
        switch request.host {
        case .address(let address): addresses = [address]
        case .name(let name): addresses = await network.addresses(of: name)
        }
        var outcome = ProxyRequest.Outcome.unknownName
        for address in addresses.prefix(addressLimit) {
            do {
                let target = try NIOCore.SocketAddress(
                    ipAddress: "\(address)",
                    port: Int(request.port)
                )
                let channel = try await connect(to: target, on: network.eventLoop)
                return .success(channel)
            } catch let error as IOError {
                outcome = error.errnoCode == ECONNREFUSED ? .refused : .unreachable
            } catch {
                outcome = .timedOut
            }
        }
        return .failure(Refusal(outcome: outcome))
    }

    /// Connects by a socket that the loop's own thread makes, and so in that thread's network.
    private static func connect(
        to target: NIOCore.SocketAddress,
        on loop: any EventLoop
    ) async throws -> ByteChannel {
        try await loop.flatSubmit {
            let made = MadeOnLoop<ByteChannel>()
            return ClientBootstrap(group: loop)
                .connectTimeout(connectLimit)
                .channelOption(.allowRemoteHalfClosure, value: true)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let stream = try ByteChannel(wrapping: channel)
                        made.value.withLock { $0 = stream }
                    }
                }
                .connect(to: target)
                .flatMapThrowing { _ in try made.take() }
        }.get()
    }

    /// Carries bytes both ways until both ends have said all.
    private static func carry(
        _ client: (channel: any Channel, bytes: ArraySlice<UInt8>, request: ProxyRequest),
        _ iterator: inout ByteChannel.Inbound.AsyncIterator,
        _ outbound: ByteChannel.Outbound,
        _ remote: ByteChannel
    ) async throws {
        let clientChannel = client.channel
        let answer = client.request.answer(.done)
        try await remote.stream.executeThenClose { replies, requests in
            if !answer.isEmpty { try await outbound.write(ByteBuffer(bytes: answer)) }
            if case .forward(let head) = client.request.action {
                try await requests.write(ByteBuffer(bytes: head))
            }
            if !client.bytes.isEmpty { try await requests.write(ByteBuffer(bytes: client.bytes)) }
            let backward = Task {
                do {
                    for try await bytes in replies { try await outbound.write(bytes) }
                    outbound.finish()
                } catch {
                    // Wakes who waits for the client's next bytes.
                    clientChannel.close(mode: .all, promise: nil)
                }
            }
            do {
                while let bytes = try await iterator.next(isolation: #isolation) {
                    try await requests.write(bytes)
                }
                requests.finish()
            } catch {
                backward.cancel()
            }
            await backward.value
        }
    }
}

/// What the initializer of a channel makes, for who has the channel opened.
///
/// Bootstraps with `async` methods make a socket on the thread that calls them, whose network is not
/// the loop's; those with futures do so too, and are called on the loop.
final class MadeOnLoop<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)

    /// What was made.
    func take() throws -> Value {
        guard let made = value.withLock({ $0 }) else { throw ChannelError.alreadyClosed }
        return made
    }
}

/// A TCP connection as two sequences of bytes.
struct ByteChannel: Sendable {
    typealias Stream = NIOAsyncChannel<ByteBuffer, ByteBuffer>
    typealias Inbound = NIOAsyncChannelInboundStream<ByteBuffer>
    typealias Outbound = NIOAsyncChannelOutboundWriter<ByteBuffer>

    let stream: Stream
    var channel: any Channel { stream.channel }

    /// Wraps a channel on whose event loop this runs.
    init(wrapping channel: any Channel) throws {
        stream = try NIOAsyncChannel(
            wrappingChannelSynchronously: channel,
            configuration: .init(isOutboundHalfClosureEnabled: true)
        )
    }
}
