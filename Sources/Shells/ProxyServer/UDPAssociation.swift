import Base
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// The UDP sockets clients send to, made where this program could still reach their network.
struct RelaySockets: Sendable {
    private final class Pool: Sendable {
        let free: Mutex<[CInt]>
        init(_ free: [CInt]) { self.free = Mutex(free) }
    }

    private let pool: Pool

    init(_ sockets: [CInt]) {
        pool = Pool(sockets)
    }

    /// Takes a socket, emptied of what came for an earlier client; `nil` where all are in use.
    func take() -> CInt? {
        guard let socket = pool.free.withLock({ $0.popLast() }) else { return nil }
        var byte: UInt8 = 0
        // Bounded: whoever fills it meanwhile only harms its own machine.
        for _ in 0..<10_000 {
            let count = unsafe recv(socket, &byte, 1, Int32(MSG_DONTWAIT))
            if count < 0 { break }
        }
        return socket
    }

    /// Gives a socket back.
    func put(_ socket: CInt) {
        pool.free.withLock { $0.append(socket) }
    }
}

/// The datagrams of one client: from its loopback into the network and back.
struct UDPAssociation: Sendable {
    private typealias Envelope = AddressedEnvelope<ByteBuffer>
    private typealias DatagramStream = NIOAsyncChannel<Envelope, Envelope>
    /// Names of one client that are remembered.
    private static let nameLimit = 256

    let relays: RelaySockets
    let loops: any EventLoopGroup
    let network: any ProxyNetwork
    let request: ProxyRequest

    /// Carries datagrams until the client's connection ends.
    func run(
        until iterator: inout ByteChannel.Inbound.AsyncIterator,
        answer: ByteChannel.Outbound
    ) async throws {
        guard let socket = relays.take() else {
            try await answer.write(ByteBuffer(bytes: request.answer(.unavailable)))
            return
        }
        defer { relays.put(socket) }
        let inside: DatagramStream
        var outside: [DatagramStream] = []
        do {
            let copy = fcntl(socket, F_DUPFD_CLOEXEC, 0)
            inside = try await Self.open(on: loops.next()) { $0.withBoundSocket(copy) }
            for any in ["0.0.0.0", "::"] {
                let address = try NIOCore.SocketAddress(ipAddress: any, port: 0)
                let stream = try? await Self.open(on: network.eventLoop) { $0.bind(to: address) }
                if let stream { outside.append(stream) }
            }
        } catch {
            try await answer.write(ByteBuffer(bytes: request.answer(.unavailable)))
            return
        }
        let client = ClientEnd(request)
        let streams = outside
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await forward(inside, to: streams, client) }
            for stream in streams {
                group.addTask { try await backward(stream, to: inside, client) }
            }
            let bound = inside.channel.localAddress.flatMap { Self.address($0) }
            try await answer.write(ByteBuffer(bytes: request.answer(.done, bound: bound)))
            // The connection says nothing more: that it ends is what is waited for.
            while try await iterator.next(isolation: #isolation) != nil {}
            group.cancelAll()
        }
    }

    private func forward(
        _ inside: DatagramStream,
        to outside: [DatagramStream],
        _ client: ClientEnd
    ) async throws {
        var known: [String: IPAddress] = [:]
        try await inside.executeThenClose { datagrams, _ in
            for try await envelope in datagrams where client.owns(envelope.remoteAddress) {
                guard
                    let datagram = try? SocksDatagram(
                        parsing: Array(envelope.data.readableBytesView)
                    )
                else { continue }
                let address: IPAddress
                switch datagram.host {
                case .address(let given): address = given
                case .name(let name):
                    let found =
                        if let cached = known[name] {
                            cached
                        } else {
                            await network.addresses(of: name).first
                        }
                    guard let found else { continue }
                    if known.count < Self.nameLimit { known[name] = found }
                    address = found
                }
                let target = try? NIOCore.SocketAddress(
                    ipAddress: "\(address)",
                    port: Int(datagram.port)
                )
                guard let target,
                    let stream = outside.first(where: {
                        $0.channel.localAddress?.protocol == target.protocol
                    }),
                    // As a full queue of a router: what does not fit is lost.
                    stream.channel.isWritable
                else { continue }
                stream.channel.writeAndFlush(
                    Envelope(
                        remoteAddress: target,
                        data: ByteBuffer(bytes: datagram.payload)
                    ),
                    promise: nil
                )
            }
        }
    }

    private func backward(
        _ outside: DatagramStream,
        to inside: DatagramStream,
        _ client: ClientEnd
    ) async throws {
        try await outside.executeThenClose { datagrams, _ in
            for try await envelope in datagrams {
                guard let target = client.address, inside.channel.isWritable,
                    let source = Self.address(envelope.remoteAddress)
                else { continue }
                let bytes = SocksDatagram.encoded(envelope.data.readableBytesView, from: source)
                inside.channel.writeAndFlush(
                    Envelope(remoteAddress: target, data: ByteBuffer(bytes: bytes)),
                    promise: nil
                )
            }
        }
    }

    /// Opens a UDP socket on the loop's own thread, and so in that thread's network.
    private static func open(
        on loop: any EventLoop,
        _ body: @escaping @Sendable (DatagramBootstrap) -> EventLoopFuture<any Channel>
    ) async throws -> DatagramStream {
        try await loop.flatSubmit {
            let made = MadeOnLoop<DatagramStream>()
            let bootstrap = DatagramBootstrap(group: loop).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let stream = try DatagramStream(wrappingChannelSynchronously: channel)
                    made.value.withLock { $0 = stream }
                }
            }
            return body(bootstrap).flatMapThrowing { _ in try made.take() }
        }.get()
    }

    private static func address(_ address: NIOCore.SocketAddress) -> Base.SocketAddress? {
        guard let text = address.ipAddress, let ip = IPAddress(text),
            let port = address.port.flatMap({ UInt16(exactly: $0) })
        else { return nil }
        return Base.SocketAddress(ip: ip, port: port)
    }
}

/// Where a client sends its datagrams from: what it said, or where its first one came from.
private final class ClientEnd: Sendable {
    private let port: UInt16
    private let first = Mutex<NIOCore.SocketAddress?>(nil)

    init(_ request: ProxyRequest) {
        port = request.port
    }

    /// The client's address, once a datagram of its has come.
    var address: NIOCore.SocketAddress? { first.withLock { $0 } }

    /// Whether a datagram from `source`, which can only be this machine, is the client's.
    func owns(_ source: NIOCore.SocketAddress) -> Bool {
        guard port == 0 || source.port == Int(port) else { return false }
        return first.withLock { known in
            if known == nil { known = source }
            return known == source
        }
    }
}
