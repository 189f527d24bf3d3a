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
            in it. A node writes its keys only where it is started with --reveal-keys. With --json \
            each datagram is one line: schema, name, value, and parts that are made alike.
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
    @OptionGroup var format: FormatOptions

    /// Characters of a value that are shown, unless all are asked for.
    private static let shownLimit = 64

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
            field.parts.insert(
                Field("at", "\(datagram.time / 1_000_000).\(Self.micros(datagram.time))"),
                at: 0
            )
            field.parts.insert(
                Field("from", "\(datagram.source) to \(datagram.destination)"),
                at: 1
            )
            field.name = "\(number + 1) \(field.name)"
            try show([field])
        }
        if capture.skipped > 0 { Output.note("\(capture.skipped) frames are no UDP datagrams") }
    }

    private static func micros(_ time: UInt64) -> String {
        let text = "\(time % 1_000_000)"
        return String(repeating: "0", count: 6 - text.count) + text
    }

    private func show(_ fields: [Field]) throws {
        for field in fields {
            if format.json {
                try Output.printJSON(field)
            } else {
                let lines = field.lines(
                    limit: full ? nil : Self.shownLimit,
                    width: Terminal.output.width
                )
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
