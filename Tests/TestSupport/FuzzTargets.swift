import Base
import Directory
import Flows
import Links
import ProxyServer
import Wire

/// One decoder as a fuzzer sees it: bytes in, and a stop of the program where a promise is broken.
///
/// The promises: hostile bytes throw, they never trap; what was read and is written again gives the
/// bytes that were read, so that no two byte strings are one message.
public struct FuzzTarget: Sendable {
    /// Names the target and its folder in the corpus.
    public let name: String
    private let body: @Sendable ([UInt8]) -> Void

    init(_ name: String, _ body: @escaping @Sendable ([UInt8]) -> Void) {
        self.name = name
        self.body = body
    }

    /// Feeds `bytes` to the decoder.
    public func run(_ bytes: [UInt8]) {
        body(bytes)
    }

    /// All targets: each decoder, and a table of links fed with a sequence of datagrams.
    public static let all: [FuzzTarget] = decoders + [linkTable]

    /// The decoders.
    public static let decoders: [FuzzTarget] = [
        FuzzTarget("handshake-datagram") { bytes in
            guard let datagram = try? HandshakeDatagram(parsing: bytes) else { return }
            switch datagram {
            case .initiation(let message): same(message.encoded, bytes, ignoring: 6..<8)
            case .response(let message): same(message.encoded, bytes, ignoring: 6..<8)
            case .cookie(let message): same(message.encoded, bytes)
            }
        },
        FuzzTarget("link-control") { bytes in
            guard let message = try? LinkControlMessage(parsing: bytes) else { return }
            same(message.encoded, Array(bytes.prefix(message.encoded.count)))
        },
        FuzzTarget("link-header") { bytes in
            guard bytes.count >= Datagram.bodyOffset,
                let header = try? LinkHeader(parsing: bytes.span.bytes, datagram: 0)
            else { return }
            var copy = bytes
            var elements = copy.mutableSpan
            var span = elements.mutableBytes
            header.store(to: &span, datagram: 0)
            same(copy, bytes, ignoring: 18..<20)
        },
        FuzzTarget("layer-header") { bytes in
            guard bytes.count >= OnionLayer.headerByteCount,
                let header = try? LayerHeader(parsing: bytes.span.bytes, at: 0)
            else { return }
            var copy = bytes
            var elements = copy.mutableSpan
            var span = elements.mutableBytes
            header.store(to: &span, at: 0)
            same(copy, bytes)
        },
        FuzzTarget("create") { bytes in
            guard let body = try? CreateBody(parsing: bytes) else { return }
            same(body.encoded, bytes)
        },
        FuzzTarget("created") { bytes in
            guard let body = try? CreatedBody(parsing: bytes) else { return }
            same(body.encoded, bytes)
        },
        FuzzTarget("client-message") { bytes in
            guard let message = try? ClientMessage(parsing: bytes) else { return }
            same(Array(message.encoded.prefix(14)), Array(bytes.prefix(14)))
        },
        FuzzTarget("server-message") { bytes in
            guard let message = try? ServerMessage(parsing: bytes) else { return }
            same(Array(message.encoded.prefix(40)), Array(bytes.prefix(40)))
        },
        FuzzTarget("control-record") { bytes in
            guard let record = try? ControlRecord(parsing: bytes) else { return }
            same(record.encoded, bytes)
        },
        FuzzTarget("control-message") { bytes in
            // The record's type byte goes ahead, with a bit for who speaks.
            guard let front = bytes.first else { return }
            let rest = Array(bytes.dropFirst())
            let message = try? ControlMessage(
                type: front & 0x7f,
                parsing: rest,
                fromClient: front & 0x80 != 0
            )
            guard let message else { return }
            // Of an echo's flags only one bit has a meaning.
            if case .echo = message {
                same(Array(message.encoded.dropFirst()), Array(rest.dropFirst()))
            } else {
                same(message.encoded, rest)
            }
        },
        FuzzTarget("descriptor") { bytes in
            guard let descriptor = try? Descriptor(parsing: bytes) else { return }
            same(try? descriptor.encoded(), bytes)
        },
        FuzzTarget("signed-descriptor") { bytes in
            guard let descriptor = try? SignedDescriptor(parsing: bytes) else { return }
            same(descriptor.encoded(), bytes)
        },
        FuzzTarget("consensus") { bytes in
            guard let consensus = try? Consensus(parsing: bytes) else { return }
            same(try? consensus.encoded(), bytes)
        },
        FuzzTarget("consensus-document") { bytes in
            if let frame = try? ConsensusFrame(parsing: bytes) { same(frame.encoded(), bytes) }
            guard let document = try? ConsensusDocument(parsing: bytes) else { return }
            same(document.encoded(), bytes)
        },
        FuzzTarget("vote") { bytes in
            guard let vote = try? DirectoryVote(parsing: bytes) else { return }
            same(try? vote.encoded(), bytes)
            _ = try? DirectoryLog(parsing: vote.log)
        },
        FuzzTarget("signed-vote") { bytes in
            guard let vote = try? SignedVote(parsing: bytes) else { return }
            same(vote.encoded(), bytes)
        },
        FuzzTarget("signature-notice") { bytes in
            guard let notice = try? SignatureNotice(parsing: bytes) else { return }
            same(notice.encoded(), bytes)
        },
        FuzzTarget("diff-chain") { bytes in
            guard let chain = try? ConsensusDiffChain(parsing: bytes) else { return }
            same(try? chain.encoded(), bytes)
            for diff in chain.diffs { _ = try? diff.applied(to: diff.front) }
        },
        FuzzTarget("byte-list") { bytes in
            guard let list = try? ByteList.parse(bytes, limit: 400) else { return }
            same(ByteList.encode(list), bytes)
        },
        FuzzTarget("ip-header") { bytes in
            let span = bytes.span.bytes
            _ = try? IPHeader(parsing: span, 0..<bytes.count)
            _ = try? IPHeader(parsingFrontOf: span, 0..<bytes.count)
        },
        FuzzTarget("tun-packet") { bytes in
            guard bytes.count > VirtioNetHeader.byteCount else { return }
            let span = bytes.span.bytes
            let packet = VirtioNetHeader.byteCount..<bytes.count
            guard let offload = try? VirtioNetHeader(parsing: span, at: 0),
                let header = try? IPHeader(parsing: span, packet),
                let tunnel = try? TunPacket(parsing: span, header: offload, packet: packet)
            else { return }
            for index in 0..<tunnel.segmentCount { _ = tunnel.byteCount(ofSegment: index) }
            _ = header
        },
        FuzzTarget("proxy-handshake") { bytes in
            // In pieces as in one: what is asked for must not depend on how bytes arrive.
            var whole = ProxyHandshake()
            whole.receive(bytes)
            var pieces = ProxyHandshake()
            let atOnce = steps(of: &whole)
            var apart = steps(of: &pieces)
            for byte in bytes.prefix(2_048) {
                guard apart.result == nil else { break }
                pieces.receive([byte])
                let more = steps(of: &pieces)
                apart = (apart.answers + more.answers, more.result)
            }
            guard bytes.count <= 2_048 else { return }
            precondition(atOnce.answers == apart.answers, "answers depend on pieces")
            precondition(atOnce.result == apart.result, "requests depend on pieces")
        },
        FuzzTarget("socks-datagram") { bytes in
            guard let datagram = try? SocksDatagram(parsing: bytes),
                case .address(let address) = datagram.host
            else { return }
            let source = SocketAddress(ip: address, port: datagram.port)
            let again = SocksDatagram.encoded(datagram.payload, from: source)
            let read = try? SocksDatagram(parsing: again)
            precondition(read?.host == datagram.host && read?.payload == datagram.payload)
        },
        FuzzTarget("records") { bytes in
            var cursor = RecordCursor(payload: 0..<bytes.count)
            var count = 0
            while let record = try? cursor.next(in: bytes.span.bytes) {
                _ = record
                count += 1
                precondition(count <= bytes.count, "records without end")
            }
        },
    ]

    /// Takes steps until more bytes are needed (`result` is `nil`), or it has come to an end.
    private static func steps(
        of handshake: inout ProxyHandshake
    ) -> (answers: [[UInt8]], result: Result<ProxyRequest, ProxyError>?) {
        var answers: [[UInt8]] = []
        while true {
            do throws(ProxyError) {
                switch try handshake.next() {
                case .more: return (answers, nil)
                case .answer(let bytes): answers.append(bytes)
                case .request(let request): return (answers, .success(request))
                }
            } catch {
                return (answers, .failure(error))
            }
        }
    }

    private static func same(_ left: [UInt8]?, _ right: [UInt8], ignoring range: Range<Int> = 0..<0)
    {
        guard var left, left.count == right.count else {
            preconditionFailure("what was read is written otherwise")
        }
        left.replaceSubrange(range, with: right[range])
        precondition(left == right, "what was read is written otherwise")
    }
}
