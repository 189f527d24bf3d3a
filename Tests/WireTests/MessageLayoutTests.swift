import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

/// Bytes of one length that differ from place to place.
private func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
}

private func session(_ number: UInt32) throws -> SessionID {
    try #require(SessionID(rawValue: number))
}

private func createBody(_ byteCount: Int) throws -> CreateBody {
    try CreateBody(parsing: pattern(byteCount))
}

private func createdBody() throws -> CreatedBody {
    try CreatedBody(parsing: pattern(112))
}

/// A layout of fixed size: what is written, and how it is read.
private struct FixedLayout {
    let name: String
    let bytes: [UInt8]
    let parse: ([UInt8]) throws -> [UInt8]

    static func all() throws -> [FixedLayout] {
        var client = ClientMessage(hop: 2, minute: 0x0102_0304)
        client.mode = 2
        client.slot = 1000
        client.upRate = 3
        client.downRate = 2
        client.flags = 1
        var server = ServerMessage(status: .earlyRefused)
        server.load = 200
        server.windowTicks = 0x0102
        server.consensusValidAfter = 0x0304_0506
        server.consensusDigest = pattern(16)
        server.logSize = 7
        server.features = 8
        server.bootMinute = 9
        server.minute = 10
        server.seenAddress = SocketAddress("[2001:db8::7]:4433")
        let initiation = LinkInitiation(
            session: try session(0x0a0b_0c0d),
            body: try createBody(CreateBody.linkByteCount),
            work: 0x1122_3344_5566_7788,
            filler: pattern(36)
        )
        let response = LinkResponse(
            session: try session(1),
            initiatorSession: try session(2),
            body: try createdBody(),
            filler: pattern(LinkResponse.fillerByteCount)
        )
        let cookie = LinkCookie(
            initiatorSession: try session(3),
            effort: 12,
            nonce: pattern(24),
            sealedCookie: pattern(32),
            filler: pattern(LinkCookie.fillerByteCount)
        )
        let opened = ControlMessage.TunnelOpened(
            status: .takenOver,
            families: 3,
            leaseSecret: try #require(Bytes32(pattern(32))),
            idleLimit: 300
        )
        func handshake(_ bytes: [UInt8]) throws -> [UInt8] {
            switch try HandshakeDatagram(parsing: bytes) {
            case .initiation(let message): message.encoded
            case .response(let message): message.encoded
            case .cookie(let message): message.encoded
            }
        }
        func control(_ type: UInt8, fromClient: Bool) -> ([UInt8]) throws -> [UInt8] {
            { try ControlMessage(type: type, parsing: $0, fromClient: fromClient).encoded }
        }
        let id = NodeID(try #require(Bytes32(pattern(32))))
        return [
            .init(name: "SM", bytes: server.encoded) {
                try ServerMessage(parsing: $0).encoded
            },
            .init(name: "CREATED", bytes: try createdBody().encoded) {
                try CreatedBody(parsing: $0).encoded
            },
            .init(name: "INIT", bytes: initiation.encoded, parse: handshake),
            .init(name: "RESP", bytes: response.encoded, parse: handshake),
            .init(name: "COOKIE", bytes: cookie.encoded, parse: handshake),
            .init(
                name: "EXTEND",
                bytes: ControlMessage.extend(next: id, create: pattern(1208)).encoded,
                parse: control(1, fromClient: true)
            ),
            .init(
                name: "EXTENDED",
                bytes: ControlMessage.extended(.created(pattern(112))).encoded,
                parse: control(2, fromClient: false)
            ),
            .init(
                name: "EXTENDED failed",
                bytes: ControlMessage.extended(.failed(.busy)).encoded,
                parse: control(2, fromClient: false)
            ),
            .init(
                name: "OPEN_TUN",
                bytes: ControlMessage.openTunnel(.init(families: 3, leaseSecret: id.rawValue))
                    .encoded,
                parse: control(7, fromClient: true)
            ),
            .init(
                name: "OPEN_TUN answer",
                bytes: ControlMessage.tunnelOpened(opened).encoded,
                parse: control(7, fromClient: false)
            ),
            .init(
                name: "ECHO",
                bytes: ControlMessage.echo(isAnswer: true, nonce: .max).encoded,
                parse: control(8, fromClient: true)
            ),
            .init(
                name: "CLOSE",
                bytes: ControlMessage.close(reason: 4).encoded,
                parse: control(10, fromClient: true)
            ),
            .init(name: "CM", bytes: client.encoded) { bytes in
                // A link's message goes on behind it.
                guard bytes.count <= ClientMessage.byteCount else {
                    throw WireError.trailing(byteCount: bytes.count - ClientMessage.byteCount)
                }
                return try ClientMessage(parsing: bytes).encoded
            },
        ]
    }
}

@Suite("Layouts of handshakes and control messages")
struct MessageLayoutTests {
    @Test("what is written is read back, byte for byte")
    func roundTrip() throws {
        for layout in try FixedLayout.all() {
            #expect(try layout.parse(layout.bytes) == layout.bytes, "\(layout.name)")
        }
    }

    @Test("row 14: each length but the right one throws")
    func lengths() throws {
        for layout in try FixedLayout.all() {
            for count in layout.bytes.indices {
                #expect(throws: WireError.self, "\(layout.name) of \(count)") {
                    try layout.parse(Array(layout.bytes.prefix(count)))
                }
            }
            for count in [1, 2, 8, 1000] {
                #expect(throws: WireError.self, "\(layout.name) and \(count)") {
                    try layout.parse(layout.bytes + [UInt8](repeating: 0, count: count))
                }
            }
        }
        for count in [0, 1, 1207, 1209, 1303, 1305, 1400] {
            #expect(throws: WireError.self) { try createBody(count) }
        }
    }

    @Test("row 14: no value of any byte makes a decoder trap")
    func everyByte() throws {
        for layout in try FixedLayout.all() {
            for index in layout.bytes.indices {
                for value in [0, 1, 2, 0x7f, 0x80, 0xff] as [UInt8] {
                    var bytes = layout.bytes
                    bytes[index] = value
                    guard let again = try? layout.parse(bytes) else { continue }
                    #expect(again.count == bytes.count, "\(layout.name) \(index)")
                }
            }
        }
    }

    @Test("row 84: unknown versions, types, suites, modes and states are named as such")
    func unknown() throws {
        let layouts = Dictionary(
            uniqueKeysWithValues: try FixedLayout.all().map { ($0.name, $0) }
        )
        let changes: [(String, Int, UInt8, WireError)] = [
            ("INIT", 4, 0, .unknown(field: "handshake type", value: 0)),
            ("INIT", 4, 4, .unknown(field: "handshake type", value: 4)),
            ("INIT", 5, 2, .unknown(field: "version", value: 2)),
            ("RESP", 5, 0, .unknown(field: "version", value: 0)),
            ("INIT", 3, 1, .invalid(field: "handshake sid")),
            ("CM", 0, 2, .unknown(field: "CM version", value: 2)),
            ("CM", 1, 4, .invalid(field: "CM hop")),
            ("CM", 2, 0, .unknown(field: "CM suite", value: 0)),
            ("CM", 3, 3, .unknown(field: "CM mode", value: 3)),
            ("SM", 0, 2, .unknown(field: "SM status", value: 2)),
            ("EXTENDED failed", 0, 5, .unknown(field: "EXTENDED status", value: 5)),
            ("OPEN_TUN answer", 0, 4, .unknown(field: "OPEN_TUN status", value: 4)),
        ]
        for (name, index, value, error) in changes {
            let layout = try #require(layouts[name])
            var bytes = layout.bytes
            bytes[index] = value
            #expect(throws: error, "\(name) \(index)") { try layout.parse(bytes) }
        }
        for type in [0, 9, 14, 127, 255] as [UInt8] {
            #expect(throws: WireError.unknown(field: "CTRL type", value: UInt64(type))) {
                try ControlMessage(type: type, parsing: [], fromClient: true)
            }
        }
    }

    @Test("session 0, which marks handshakes, is nobody's")
    func sessionZero() throws {
        #expect(SessionID(rawValue: 0) == nil)
        let layouts = try FixedLayout.all()
        for (name, offsets) in [("INIT", [8]), ("RESP", [8, 12]), ("COOKIE", [5])] {
            let layout = try #require(layouts.first { $0.name == name })
            for offset in offsets {
                var bytes = layout.bytes
                bytes.replaceSubrange(offset..<offset + 4, with: [0, 0, 0, 0])
                #expect(throws: WireError.invalid(field: "sid")) { try layout.parse(bytes) }
            }
        }
    }

    @Test("handshake datagrams have the places the protocol gives")
    func places() throws {
        let layouts = try FixedLayout.all()
        let initiation = try #require(layouts.first { $0.name == "INIT" }).bytes
        #expect(initiation.count == 1392)
        #expect(Array(initiation[0..<12]) == [0, 0, 0, 0, 1, 1, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d])
        #expect(Array(initiation[12..<1316]) == pattern(1304))
        #expect(LinkInitiation.workByteCount == 1316)
        #expect(Array(initiation[1316..<1324]) == [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])
        #expect(Array(initiation[1324..<1360]) == pattern(36))
        #expect(LinkInitiation.mac1Offset == 1360)
        let response = try #require(layouts.first { $0.name == "RESP" }).bytes
        #expect(Array(response[4..<16]) == [2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2])
        #expect(Array(response[16..<128]) == pattern(112))
        let cookie = try #require(layouts.first { $0.name == "COOKIE" }).bytes
        #expect(Array(cookie[4..<10]) == [3, 0, 0, 0, 3, 12])
        #expect(Array(cookie[10..<34]) == pattern(24))
        #expect(Array(cookie[34..<66]) == pattern(32))
    }

    @Test("link control messages round trip in front of filler, and throw where they are cut")
    func linkControl() throws {
        let messages: [LinkControlMessage] = [
            .ping(nonce: 1), .pong(nonce: .max),
            .rekey(session: try session(5), body: try createBody(1304)),
            .rekeyed(
                session: try session(5),
                initiatorSession: try session(6),
                body: try createdBody()
            ),
            .close,
        ]
        for message in messages {
            let bytes = message.encoded
            #expect(bytes.count <= Datagram.sealedBodyCapacity)
            #expect(try LinkControlMessage(parsing: bytes) == message)
            let filled = bytes + [UInt8](repeating: 0, count: 1340 - bytes.count)
            #expect(try LinkControlMessage(parsing: filled) == message)
            for count in bytes.indices {
                #expect(throws: WireError.self) {
                    try LinkControlMessage(parsing: Array(bytes.prefix(count)))
                }
            }
        }
        for type in [0, 6, 255] as [UInt8] {
            #expect(throws: WireError.unknown(field: "link control type", value: UInt64(type))) {
                try LinkControlMessage(parsing: [type] + pattern(1339))
            }
        }
    }

    @Test("CTRL records keep number, acknowledgements, type and whether they go on")
    func controlRecords() throws {
        for type in [1, 7, 127] as [UInt8] {
            for goesOn in [false, true] {
                let record = ControlRecord(
                    sequence: 0xffff,
                    acknowledged: 0x0102,
                    acknowledgedBits: 0x8001,
                    type: type,
                    goesOn: goesOn,
                    message: pattern(9)
                )
                #expect(try ControlRecord(parsing: record.encoded) == record)
                #expect(record.encoded.count == ControlRecord.headerByteCount + 9)
            }
        }
        for count in 0..<ControlRecord.headerByteCount {
            #expect(throws: WireError.self) { try ControlRecord(parsing: pattern(count)) }
        }
        let front: [UInt8] = [0, 0, 0, 1, 0, 0]
        #expect(try ControlRecord(parsing: front + [0]).message.isEmpty)
        // An acknowledgement has no number: a message in it would belong nowhere.
        #expect(throws: WireError.self) { try ControlRecord(parsing: front + [0, 1]) }
        #expect(throws: WireError.self) { try ControlRecord(parsing: front + [0x80]) }
    }

    @Test("a digest of another length is cut or filled, never written over what follows")
    func digest() throws {
        for count in [0, 15, 17, 32] {
            var message = ServerMessage(status: .accepted)
            message.consensusDigest = pattern(count)
            message.logSize = 0x0102_0304
            let bytes = message.encoded
            #expect(bytes.count == ServerMessage.byteCount)
            #expect(try ServerMessage(parsing: bytes).logSize == 0x0102_0304)
        }
    }
}
