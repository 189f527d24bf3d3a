import ArgumentParser
import Base
import ControlAPI
import FoundationEssentials

/// `umbel inspect`: datagrams of the network, field by field.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Decode captured datagrams with one's own keys, field by field.",
        discussion: """
            Reads a capture (tcpdump -w, umbel-lab capture) and prints every field by the name the \
            protocol text gives it, as deep as the keys reach. Without keys that is sid and seq, and \
            the clear parts of handshakes. A file of known answers (.json) is decoded with the keys \
            in it. A node writes its keys only where it is started with --reveal-keys. With --brief \
            each datagram is one line: its number, seconds since the first one, > where the keys' \
            owner sent it and < where it came, the other end, the circuit, and what is in it. With \
            --json each datagram is one line: schema, name, value, and parts that are made alike.
            """
    )

    @Argument(help: ArgumentHelp("The capture, or known answers.", valueName: "file"))
    var file: String
    @Option(
        help: ArgumentHelp(
            "Keys that nodes wrote; may be given several times.",
            valueName: "file"
        ),
        completion: .file()
    )
    var keys: [String] = []
    @Flag(help: "Print values in full, however long.")
    var full = false
    @Flag(help: "Print one line for each datagram.")
    var brief = false
    @OptionGroup var format: FormatOptions

    /// Characters of a value that are shown, unless all are asked for.
    private static let shownLimit = 64

    func validate() throws {
        guard brief, format.json || full else { return }
        throw ValidationError("--brief goes neither with --json nor with --full.")
    }

    func run() throws {
        let bytes = try OutputFile.read(file)
        if file.hasSuffix(".json") { return try show(try Self.vectors(bytes, file)) }
        var text = ""
        for path in keys {
            text += String(decoding: try OutputFile.read(path), as: UTF8.self) + "\n"
        }
        var decoder = DatagramDecoder(
            keys: try RevealedKeys(text, name: keys.joined(separator: ", "))
        )
        let capture = try PcapFile(bytes, name: file)
        for (number, datagram) in capture.datagrams.enumerated() {
            var field = decoder.decode(datagram.payload)
            // Nobody reads it in JSON.
            let summary = format.json ? nil : DatagramSummary(field)
            if brief, let summary {
                let since = datagram.time - min(datagram.time, capture.datagrams[0].time)
                Output.print(Self.line(number + 1, since, datagram, summary))
                continue
            }
            field.parts.insert(
                Field("at", "\(datagram.time / 1_000_000).\(Self.micros(datagram.time))"),
                at: 0
            )
            field.parts.insert(
                Field("from", "\(datagram.source) to \(datagram.destination)"),
                at: 1
            )
            field.name = "\(number + 1) \(field.name)"
            try show([field], summary: summary?.text == field.value ? nil : summary?.text)
        }
        switch capture.skipped {
        case 0: break
        case 1: Output.note("1 frame is no UDP datagram")
        case let count: Output.note("\(count) frames are no UDP datagrams")
        }
    }

    /// A datagram in one line, or as few as the terminal has room for.
    private static func line(
        _ number: Int,
        _ micros: UInt64,
        _ datagram: PcapFile.Datagram,
        _ summary: DatagramSummary
    ) -> String {
        let count = "\(number)"
        let space = String(repeating: " ", count: max(0, 5 - count.count))
        let time = "\(micros / 1_000_000).\(Self.micros(micros))"
        let ends =
            switch summary.isSent {
            case true?: "> \(datagram.destination)"
            case false?: "< \(datagram.source)"
            case nil: "\(datagram.source) > \(datagram.destination)"
            }
        let words = [ends, summary.circuit, summary.text].compactMap(\.self)
        return Text.wrapped(
            words.joined(separator: " "),
            after: "\(space)\(count)  \(time)  ",
            width: Terminal.output.width
        )
    }

    private static func micros(_ time: UInt64) -> String {
        let text = "\(time % 1_000_000)"
        return String(repeating: "0", count: 6 - text.count) + text
    }

    /// Prints fields; `summary` stands behind the first line of them where people read it.
    private func show(_ fields: [Field], summary: String? = nil) throws {
        for field in fields {
            if format.json {
                try Output.printJSON(field)
            } else {
                var lines = field.lines(
                    limit: full ? nil : Self.shownLimit,
                    width: Terminal.output.width
                )
                if let summary {
                    lines[0] = Text.wrapped(
                        summary,
                        after: "\(lines[0]), ",
                        width: Terminal.output.width
                    )
                }
                Output.print(lines.joined(separator: "\n") + "\n")
            }
        }
    }

    private static func vectors(_ bytes: [UInt8], _ name: String) throws -> [Field] {
        let file = try? JSONDecoder().decode(VectorFile.self, from: Data(bytes))
        guard let fields = file?.fields, !fields.isEmpty else {
            throw Failure(
                "\(name) holds no known answers",
                why: "it has neither a handshake nor a voucher's message",
                hint: "take umbel_kat.json of the protocol's vectors",
                exit: .usage
            )
        }
        return fields
    }
}
