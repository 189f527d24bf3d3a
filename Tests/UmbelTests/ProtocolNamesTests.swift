import Base
import Foundation
import Testing
import Wire

@testable import umbel

/// The layouts of PROTOCOL.md, as the names of their fields.
private struct ProtocolText {
    private let lines: [String]

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(
            contentsOf: root.appending(path: "Sources/Protocol/PROTOCOL.md"),
            encoding: .utf8
        )
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Names in `phrase`, such as `status u8, paid u32`: what stands before a width.
    static func names(_ phrase: String) -> [String] {
        var text = phrase.replacing(#/\([^)]*\)/#, with: "").replacing("`", with: "")
        text = text.replacing("up to 4,000 bytes", with: "bytes").replacing("for 0: ", with: "")
        text = text.replacing("t x ", with: "").replacing(#/[;|]/#, with: ",")
        return text.split(separator: ",").compactMap { part in
            let name = part.trimmingCharacters(in: .whitespaces)
                .replacing(#/ (u8|u16|u32|u64|\d+)( .*)?$/#, with: "")
            return name.isEmpty || name == "nothing: wanted now" ? nil : name
        }
    }

    /// Rows of the tables of control messages: the type, what clients say, what hops say.
    func messages() -> [(type: UInt8, fromClient: String, fromHop: String)] {
        lines.compactMap { line in
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard line.hasPrefix("|"), cells.count == 3,
                let match = cells[0].firstMatch(of: #/^(\d+) [A-Z_]{3,}/#),
                let type = UInt8(match.1)
            else { return nil }
            return (type, cells[1], cells[2])
        }
    }

    /// Names of the block of lines after the one that has `heading`: `offset name width | …`.
    func block(after heading: String) throws -> [String] {
        let start = try #require(lines.firstIndex { $0.contains(heading) })
        let open = try #require(lines[start...].firstIndex(of: "```"))
        return lines[(open + 1)...].prefix { $0 != "```" }.flatMap { line -> [String] in
            guard let match = line.firstMatch(of: #/^ *\d+  (.*)$/#) else { return [] }
            return match.1.split(separator: "|").flatMap { part in
                let field = part.trimmingCharacters(in: .whitespaces).split(separator: "  ").first
                return Self.names(field.map(String.init) ?? "")
            }
        }
    }

    /// Names of a column of the block of handshake datagrams.
    func handshake(_ column: String) throws -> [String] {
        let start = try #require(lines.firstIndex { $0.hasPrefix("INIT   ") })
        let titles = ["INIT", "RESP", "COOKIE"]
        let offsets = try titles.map { title in
            let range = try #require(lines[start].firstRange(of: title))
            return lines[start].distance(from: lines[start].startIndex, to: range.lowerBound)
        }
        let index = try #require(titles.firstIndex(of: column))
        let end = index + 1 < offsets.count ? offsets[index + 1] : Int.max
        return lines[(start + 1)...].prefix { $0 != "```" }.compactMap { line in
            let cell = String(line.dropFirst(offsets[index]).prefix(end - offsets[index]))
            guard let match = cell.firstMatch(of: #/^ *\d+  (\D.*)$/#) else { return nil }
            return Self.names(String(match.1)).first
        }
    }

    /// Names of the fields of a message of LINK_CTRL.
    func linkControl(_ name: String) throws -> [String] {
        let line = try #require(
            lines.first { line in
                line.dropFirst(3).hasPrefix("\(name) ") && line.first?.isNumber == true
            }
        )
        let rest = line.dropFirst(3).drop { $0 != " " }.trimmingCharacters(in: .whitespaces)
        return Self.names(rest.split(separator: "   ").first.map(String.init) ?? "")
    }
}

@Suite("umbel inspect prints the names of PROTOCOL.md, every one and no other")
struct ProtocolNamesTests {
    private let text: ProtocolText

    init() throws {
        text = try ProtocolText()
    }

    private static let bytes32: Bytes32 = {
        let bytes = [UInt8](repeating: 7, count: 32)
        return Bytes32(bytes.span.bytes)
    }()
    private static let create = [UInt8](repeating: 1, count: CreateBody.circuitByteCount)
    private static let created = [UInt8](repeating: 2, count: CreatedBody.byteCount)
    private static let place = ChainPlace(index: 3, value: bytes32)

    /// One of each message a client or a hop sends.
    private static let samples: [(message: ControlMessage, fromClient: Bool)] = [
        (.extend(next: NodeID(bytes32), create: create), true),
        (.extended(.created(created)), false),
        (
            .payOpen(
                PayOpen(
                    voucher: VoucherProof(
                        epoch: 4,
                        denomination: .small,
                        setVersion: 1,
                        root: bytes32,
                        reclaimCommitment: bytes32,
                        signatures: [[UInt8](repeating: 5, count: 256)]
                    ),
                    place: place
                )
            ), true
        ),
        (.payResult(PayResult(status: .taken, paidTicks: 1)), false),
        (.payTick(place), true),
        (.payAttach(PayAttach(voucher: bytes32, place: place)), true),
        (.reportAsk, true),
        (
            .report(
                HopReport(
                    paidTicks: 1,
                    forwardIn: 2,
                    forwardOut: 3,
                    backwardIn: 4,
                    backwardOut: 5,
                    queueDrops: 6,
                    queueDelay: 7
                )
            ), false
        ),
        (.openTunnel(.init(families: 3, leaseSecret: bytes32)), true),
        (
            .tunnelOpened(
                .init(status: .opened, families: 3, leaseSecret: bytes32, idleLimit: 600)
            ), false
        ),
        (.echo(isAnswer: false, nonce: 9), true),
        (.echo(isAnswer: true, nonce: 9), false),
        (.close(reason: 0), true),
        (.close(reason: 0), false),
        (.directoryAsk(DirectoryAsk(kind: .diff, digest: bytes32, offset: 0)), true),
        (
            .directoryPart(
                DirectoryPart(status: .bytes, tag: 1, total: 3, offset: 0, bytes: [1, 2, 3])
            ), false
        ),
        (.mintAsk(MintAsk(id: 1, mint: 2, total: 3, offset: 0, bytes: [1, 2, 3])), true),
        (
            .mintAnswer(
                MintAnswerPart(id: 1, status: .answered, total: 3, offset: 0, bytes: [1, 2, 3])
            ), false
        ),
        (
            .payPass(
                PayPass(
                    authority: 1,
                    minute: 2,
                    nonce: [UInt8](repeating: 3, count: 16),
                    signature: [UInt8](repeating: 4, count: 64)
                )
            ), true
        ),
    ]

    private static func record(_ body: [UInt8]) -> [UInt8] {
        [16, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
    }

    @Test("each control message, each way")
    func messages() throws {
        let rows = text.messages()
        #expect(rows.map(\.type).sorted() == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13])
        var checked = Set<String>()
        for (message, fromClient) in Self.samples {
            let row = try #require(rows.first { $0.type == message.type }, "\(message.type)")
            let written = fromClient ? row.fromClient : row.fromHop
            let control = ControlRecord(
                sequence: 5,
                acknowledged: 6,
                acknowledgedBits: 0,
                type: message.type,
                message: message.encoded
            )
            var parts = ControlParts()
            let fields = RecordFields.records(
                Self.record(control.encoded) + [0, 0],
                fromClient: fromClient,
                joining: &parts
            )
            #expect(fields.map(\.name) == ["record", "padding"], "\(fields)")
            let names = fields[0].parts.map(\.name)
            #expect(names.prefix(5) == ["length", "seq", "ack", "ackbits", "type"])
            #expect(
                Array(names.dropFirst(5)) == ProtocolText.names(written),
                "\(message.type) \(fromClient ? "from a client" : "from a hop")"
            )
            checked.insert("\(message.type) \(fromClient)")
        }
        for row in rows {
            for (written, fromClient) in [(row.fromClient, true), (row.fromHop, false)] {
                let isSent = !["never", "see A.1"].contains(written)
                #expect(checked.contains("\(row.type) \(fromClient)") == isSent, "\(row)")
            }
        }
    }

    @Test("a message of several parts is read whole with its last one")
    func parts() throws {
        let bytes = (0..<3_000).map { UInt8($0 % 251) }
        let part = DirectoryPart(status: .bytes, tag: 0xab, total: 3_000, offset: 0, bytes: bytes)
        let whole = ControlMessage.directoryPart(part).encoded
        var parts = ControlParts()
        var last: [Field] = []
        for (index, start) in stride(from: 0, to: whole.count, by: 1_200).enumerated() {
            let end = min(whole.count, start + 1_200)
            // Across the end of the numbers.
            let record = ControlRecord(
                sequence: UInt16.max &+ UInt16(index),
                acknowledged: 0,
                acknowledgedBits: 0,
                type: 11,
                goesOn: end < whole.count,
                message: Array(whole[start..<end])
            )
            last = RecordFields.records(
                Self.record(record.encoded),
                fromClient: false,
                joining: &parts
            )
        }
        let record = try #require(last.first)
        #expect(record.all("message").map(\.value) == ["the last of 3 parts"])
        #expect(record.all("tag").map(\.value) == ["000000ab"])
        #expect(record.all("bytes").map(\.value) == [bytes.hex])
    }

    @Test("CM, SM and the three datagrams of a link's handshake")
    func handshakes() throws {
        let client = ClientMessage(hop: 1, minute: 3)
        #expect(
            HandshakeFields.clientMessage(client.encoded).parts.map(\.name)
                == (try text.block(after: "CM, the client message, 32 bytes"))
        )
        let server = [UInt8](repeating: 0, count: 64)
        #expect(
            HandshakeFields.serverMessage(server).parts.map(\.name)
                == (try text.block(after: "SM, the server message, 64 bytes"))
        )
        for (type, title) in [(UInt8(1), "INIT"), (2, "RESP"), (3, "COOKIE")] {
            var datagram = [UInt8](repeating: 0, count: 1_392)
            datagram.replaceSubrange(4..<6, with: [type, 1])
            // Session numbers are not 0.
            for offset in [5, 8, 12] where type == 3 ? offset == 5 : offset > 5 {
                datagram[offset + 3] = 1
            }
            let field = HandshakeFields.handshake(datagram)
            #expect(field.value == title, "\(field)")
            #expect(field.parts.map(\.name) == (try text.handshake(title)), "\(title)")
        }
    }

    @Test("each message of LINK_CTRL")
    func linkControl() throws {
        let first = CreateBody(
            keyID: 1,
            publicKey: Self.bytes32,
            ciphertext: [UInt8](repeating: 0, count: 1_120),
            sealedMessage: [UInt8](repeating: 0, count: 144)
        )
        let second = try CreatedBody(parsing: Self.created)
        let session = try #require(SessionID(rawValue: 7))
        let messages: [(String, LinkControlMessage)] = [
            ("PING", .ping(nonce: 1)), ("PONG", .pong(nonce: 1, time: 2)),
            ("REKEY", .rekey(session: session, body: first)),
            ("REKEYED", .rekeyed(session: session, initiatorSession: session, body: second)),
            ("CLOSE", .close),
        ]
        for (name, message) in messages {
            let field = HandshakeFields.body(message.encoded, of: .linkControl)
            #expect(field.value == name)
            let written = name == "CLOSE" ? [] : try text.linkControl(name)
            #expect(field.parts.map(\.name) == ["type"] + written, "\(name)")
        }
    }
}
