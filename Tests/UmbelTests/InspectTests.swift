import Base
import CryptoPrimitives
import Foundation
import Testing
import Wire

@testable import umbel

/// A field as `umbel inspect --json` prints it.
private struct PrintedField: Decodable {
    let schema: Int?
    let name: String
    let value: String?
    let parts: [PrintedField]?

    /// The value of the field that is reached by these names.
    func value(_ names: String...) -> String? {
        var field: PrintedField? = self
        for name in names { field = field?.parts?.first { $0.name == name } }
        return field?.value
    }
}

@Suite("Decoding datagrams with one's own keys", .timeLimit(.minutes(2)))
struct InspectTests {
    private let folder: URL
    private let link = (0..<4).map { [UInt8](repeating: 0x10 + UInt8($0), count: 32) }
    private let layers = (0..<3).map { [UInt8](repeating: 0x20 + UInt8($0), count: 32) }

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    }

    private func seal(
        _ bytes: inout [UInt8],
        _ key: [UInt8],
        _ text: Range<Int>,
        nonce: UInt64,
        authenticating: Range<Int>
    ) {
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        AEADKey(Secret(copying: key)).seal(
            &raw,
            text: text,
            tagOffset: text.upperBound,
            nonce: nonce,
            authenticating: authenticating
        )
    }

    /// An ECHO in a CTRL record: kind, length, then seq, ack, ackbits, type 8, flags 0, nonce 77.
    private static let echo: [UInt8] =
        [16, 0, 16, 0, 5, 0, 0, 0, 0, 8, 0] + [UInt8](repeating: 0, count: 7) + [77]

    /// A cell for hop `last` as hop `first` gets it, sealed as §C.2 and §C.3 have it.
    private func cell(
        from first: Int = 1,
        to last: Int = 3,
        command: UInt8 = 1,
        flags: UInt8 = 0,
        aux: UInt16 = 0,
        next: UInt32 = 0,
        inside: [UInt8] = echo
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1392)
        func store(_ value: some FixedWidthInteger, at offset: Int) {
            for index in 0..<(value.bitWidth / 8) {
                let shift = value.bitWidth - 8 * (index + 1)
                bytes[offset + index] = UInt8(truncatingIfNeeded: value >> shift)
            }
        }
        bytes.replaceSubrange(36..<36 + inside.count, with: inside)
        let counters: [UInt32] = [1 << 30 | 100, 1 << 30 | 200, 1 << 30 | 300]
        for hop in (first...last).reversed() {
            let end = 36 + 1356 - 24 * (hop - 1)
            store(hop == last ? command : 0, at: end - 24)
            store(hop == last ? flags : 0, at: end - 23)
            store(hop == last ? aux : 0, at: end - 22)
            store(hop == last ? next : counters[hop], at: end - 20)
            let nonce = UInt64(counters[hop - 1])
            seal(&bytes, layers[hop - 1], 36..<end - 16, nonce: nonce, authenticating: 0..<0)
        }
        store(UInt32(0xabcd), at: 0)
        store(UInt32(9), at: 4)
        store(UInt32(0x8000_0001), at: 8)
        store(counters[first - 1], at: 12)
        store(UInt8(1), at: 16)
        seal(&bytes, link[0], 8..<20, nonce: 9, authenticating: 0..<8)
        return bytes
    }

    /// A capture of raw IPv4 with one UDP datagram, and one frame that is none.
    private func capture(_ payload: [UInt8]) throws -> String {
        func big(_ value: Int) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }
        let udp = big(4_433) + big(5_000) + big(8 + payload.count) + [0, 0] + payload
        var packet: [UInt8] = [0x45, 0] + big(20 + udp.count) + [0, 0, 0, 0, 64, 17, 0, 0]
        packet += [192, 0, 2, 1, 192, 0, 2, 2] + udp
        func little(_ value: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        var file: [UInt8] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0] + [UInt8](repeating: 0, count: 8)
        file += little(65_535) + little(101)
        for frame in [packet, [0x45, 0]] {
            file +=
                little(7) + little(8) + little(UInt32(frame.count)) + little(UInt32(frame.count))
            file += frame
        }
        let path = folder.appending(path: "capture.pcap")
        try Data(file).write(to: path)
        return path.path
    }

    private func keys(_ hops: [Int]) throws -> String {
        var lines = ["# keys", "link 00001234 0000abcd " + link.map(\.hex).joined(separator: " ")]
        for hop in hops { lines.append("layer \(hop) 1 \(layers[hop - 1].hex) -") }
        let path = folder.appending(path: "keys-\(hops.count)")
        try Data(lines.joined(separator: "\n").utf8).write(to: path)
        return path.path
    }

    private func inspect(_ arguments: String...) async throws -> PrintedField {
        let run = try await Invocation.run(
            Invocation.program,
            ["inspect", "--json"] + arguments
        )
        #expect(run.status == 0, "\(run.errors)")
        return try JSONDecoder().decode(PrintedField.self, from: Data(run.output.utf8))
    }

    @Test("With all keys every field is there, to the message for the exit")
    func whole() async throws {
        let capture = try capture(cell())
        let field = try await inspect(capture, "--keys", try keys([1, 2, 3]))
        #expect(field.schema == 1)
        #expect(field.parts?.allSatisfy { $0.schema == nil } == true)
        #expect(field.name == "1 datagram")
        #expect(field.value == "sent")
        #expect(field.value("at") == "7.000008")
        #expect(field.value("from") == "192.0.2.1:4433 to 192.0.2.2:5000")
        #expect(field.value("sid") == "0000abcd")
        #expect(field.value("seq") == "9")
        #expect(field.value("circuit") == "80000001")
        #expect(field.value("command") == "1 FORWARD")
        #expect(field.value("counter", "count") == "100")
        #expect(field.value("layer", "command") == "0 FORWARD")
        #expect(field.value("layer", "next", "count") == "200")
        #expect(field.value("layer", "layer", "next", "count") == "300")
        let record = ["layer", "layer", "layer", "record"]
        func read(_ name: String) -> String? {
            field.value(record[0], record[1], record[2], record[3], name)
        }
        #expect(field.value("layer", "layer", "layer", "command") == "1 DELIVER")
        #expect(read("type") == "8 ECHO")
        #expect(read("seq") == "5")
        #expect(read("nonce") == "77")
    }

    @Test("Every line fits into 40 and into 80 columns, unless all bytes are asked for")
    func narrow() async throws {
        let capture = try capture(cell())
        let keys = try keys([1, 2, 3])
        for width in [40, 80] {
            let run = try await Invocation.umbel(
                "inspect",
                capture,
                "--keys",
                keys,
                environment: ["COLUMNS": "\(width)"]
            )
            #expect(run.status == 0, "\(run.errors)")
            let lines = run.output.split(separator: "\n")
            #expect(lines.count > 30)
            for line in lines { #expect(line.count <= width, "\(line)") }
        }
        let bytes = [UInt8](repeating: 0xab, count: 100)
        let field = Field("a", "", [Field("b", bytes: bytes), Field("c", 7)])
        #expect(field.lines(limit: nil) == ["a", "  b \(bytes.hex)", "  c 7"])
        let short = ["a", "  b \(bytes.hex.prefix(64))... 100 bytes", "  c 7"]
        #expect(field.lines(limit: 64) == short)
        #expect(field.lines(limit: 64, width: 30)[1] == "  b abababababab... 100 bytes")
    }

    @Test("Each datagram is one line where that is asked for: way, circuit, and what is in it")
    func brief() async throws {
        func line(_ bytes: [UInt8], _ hops: [Int]?, columns: Int? = nil) async throws -> String {
            let keys = try hops.map { ["--keys", try self.keys($0)] } ?? []
            let run = try await Invocation.run(
                Invocation.program,
                ["inspect", try capture(bytes), "--brief"] + keys,
                environment: columns.map { ["COLUMNS": "\($0)"] } ?? [:]
            )
            #expect(run.status == 0, "\(run.errors)")
            return run.output
        }
        let start = "    1  0.000000  > 192.0.2.2:5000 80000001 FORWARD "
        #expect(try await line(cell(), [1, 2, 3]) == "\(start)to hop 3: ECHO\n")
        #expect(try await line(cell(), [1]) == "\(start)beyond hop 1, sealed\n")
        #expect(try await line(cell(), []) == "\(start)sealed\n")
        let ends = "    1  0.000000  192.0.2.1:4433 > 192.0.2.2:5000 "
        #expect(try await line(cell(), nil) == "\(ends)sealed; no key opens it\n")
        #expect(try await line([1, 2, 3], nil) == "\(ends)of 3 bytes is none of Umbel's\n")
        let cover = cell(to: 2, command: 2, flags: 4, aux: 7, inside: [])
        #expect(try await line(cover, [1, 2]) == "\(start)to hop 2: DROP\n")
        // A DNS question in a packet record, and an ECHO behind it.
        let udp: [UInt8] = [0x9c, 0x40, 0, 53, 0, 8, 0, 0]
        let packet: [UInt8] =
            [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 111, 0, 2, 10, 111, 0, 1] + udp
        let both = cell(inside: [1, 0, UInt8(packet.count)] + packet + Self.echo)
        let said = "to hop 3: packet UDP 10.111.0.2:40000 > 10.111.0.1:53, ECHO"
        #expect(try await line(both, [1, 2, 3]) == "\(start)\(said)\n")
        for part in try await line(both, [1, 2, 3], columns: 40).split(separator: "\n") {
            #expect(part.count <= 40, "\(part)")
        }
        // In full, people read the same words first; programs read fields alone.
        let full = try await Invocation.umbel("inspect", capture(both), "--keys", keys([1, 2, 3]))
        #expect(full.output.hasPrefix("1 datagram sent, FORWARD \(said)\n  at 7.000008\n"))
        let refused = try await Invocation.umbel("inspect", capture(both), "--brief", "--json")
        #expect(refused.status == 64)
    }

    @Test("Cover, parity and holds are told apart, and filler is counted")
    func schedule() async throws {
        func middle(_ bytes: [UInt8]) async throws -> PrintedField {
            let field = try await inspect(try capture(bytes), "--keys", try keys([1, 2]))
            return try #require(field.parts?.first { $0.name == "layer" })
        }
        let cover = try await middle(cell(to: 2, command: 2, flags: 4, aux: 7, inside: []))
        #expect(cover.value("layer", "command") == "2 DROP")
        #expect(cover.value("layer", "flags") == "4 by schedule")
        #expect(cover.value("layer", "aux") == "7 hold in slots")
        #expect(cover.value("layer", "inside") == "1308 zeros")
        let parity = cell(to: 2, command: 3, flags: 4, aux: 5, next: 9, inside: [1, 2, 3])
        let shown = try await middle(parity)
        #expect(shown.value("layer", "command") == "3 PARITY")
        #expect(shown.value("layer", "flags") == "4 XOR of command")
        #expect(shown.value("layer", "aux") == "5 XOR of aux")
        #expect(shown.value("layer", "next") == "9 XOR of next")
        #expect(shown.value("layer", "inside")?.hasPrefix("0102030000") == true)
        #expect(shown.value("layer", "tag")?.count == 32)
        // What the middle itself captures has 24 bytes of filler behind its layer.
        let own = try await middle(cell(from: 2, to: 2, command: 2, inside: []))
        #expect(own.value == "2 (1332 bytes)")
        #expect(own.value("filler") == "24")
    }

    @Test("What no key opens is said to be sealed: a hop's own keys show its own layer only")
    func parts() async throws {
        let capture = try capture(cell())
        let guardsOwn = try await inspect(capture, "--keys", try keys([1]))
        #expect(guardsOwn.value("layer", "command") == "0 FORWARD")
        #expect(guardsOwn.value("layer", "layer") == "sealed; no key opens it")
        let none = try await inspect(capture)
        #expect(none.value("sid") == "0000abcd")
        #expect(none.value("header") == "sealed; no key opens it")
        var spoilt = cell()
        spoilt[700] ^= 1
        let changed = try await inspect(try self.capture(spoilt), "--keys", try keys([1, 2, 3]))
        #expect(changed.value("layer") == "sealed; no key opens it")
    }

    @Test("Datagrams of any content and length are printed, never trapped on")
    func noise() async throws {
        var state: UInt64 = 1
        for type in 0..<5 {
            var bytes = (0..<1392).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1
                return UInt8(truncatingIfNeeded: state >> 33)
            }
            bytes.replaceSubrange(0..<4, with: [0, 0, 0, 0])
            bytes[4] = UInt8(type)
            let field = try await inspect(try capture(bytes))
            #expect(field.name == "1 datagram")
        }
        #expect(try await inspect(try capture([1, 2, 3])).value?.contains("3 bytes") == true)
    }

    @Test("What is neither capture nor keys is refused, by name and line")
    func refusals() async throws {
        let path = folder.appending(path: "text").path
        try Data("# fine\nlayer 9 1 - -\n".utf8).write(to: URL(filePath: path))
        let file = try await Invocation.umbel("inspect", path)
        #expect(file.status == 64)
        #expect(file.errors.contains("is no capture file"))
        let keys = try await Invocation.umbel("inspect", try capture(cell()), "--keys", path)
        #expect(keys.status == 64)
        #expect(keys.errors.contains("line 2 is neither a link nor a layer"))
    }

    @Test("The known answers of the protocol decode to what they were made of")
    func vectors() async throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "OnionTests/Vectors/umbel_kat.json").path
        let run = try await Invocation.umbel("inspect", "--json", path)
        #expect(run.status == 0, "\(run.errors)")
        let fields = try run.output.split(separator: "\n").map {
            try JSONDecoder().decode(PrintedField.self, from: Data($0.utf8))
        }
        #expect(fields.map(\.name) == ["CM", "second message", "SM", "m"])
        // 0101010001ba8140 and zeros: version, hop, suite, mode and minute.
        #expect(fields[0].value("hop") == "1")
        #expect(fields[0].value("suite") == "1")
        #expect(fields[0].value("minute") == "\(0x01ba_8140)")
        #expect(fields[1].value("Y")?.hasPrefix("5869aff450549732") == true)
        #expect(fields[2].value("status") == "0 accepted")
        #expect(fields[3].value("label") == "umbel/1/voucher")
        #expect(fields[3].value("netid")?.hasPrefix("000102030405") == true)
    }

    @Test("A node does not write its keys unless it is told so twice")
    func reveal() async throws {
        let path = folder.appending(path: "revealed").path
        for role in [["daemon"], ["relay", "run"], ["relay"]] {
            let run = try await Invocation.run(
                Invocation.program,
                role + ["--config", "/nonexistent.toml", "--reveal-keys", path]
            )
            #expect(run.status == 64, "\(role)")
            #expect(run.errors.contains("--yes-reveal-keys"))
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }
}
