import ArgumentParser

/// `umbel-lab impair HOST`: faults on the host's cable, both ways.
struct ImpairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "impair",
        abstract: "Give a host's cable loss, delay or a rate, in place of what it had."
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The host.") var host: String
    @Option(help: "Packets lost each way, such as 5%.", transform: share) var loss: Int?
    @Option(help: "Time each way, such as 20ms.", transform: time) var delay: UInt64?
    @Option(help: "Up to this much more time, anew for each frame.", transform: time)
    var jitter: UInt64?
    @Option(help: "Frames that overtake, such as 1%.", transform: share) var reorder: Int?
    @Option(help: "Frames that arrive twice.", transform: share) var duplicate: Int?
    @Option(help: "Frames that arrive damaged.", transform: share) var corrupt: Int?
    @Option(help: "Bits per second each way, such as 50mbit.", transform: rate) var rate: UInt64?
    @Option(help: "Where the drawing of chances begins.") var seed: UInt64 = 1
    @Flag(help: "Mend the cable.") var clear = false

    private var faults: LinkFaults {
        LinkFaults(
            lossPerMyriad: loss ?? 0,
            delayMicroseconds: delay ?? 0,
            jitterMicroseconds: jitter ?? 0,
            reorderPerMyriad: reorder ?? 0,
            duplicatePerMyriad: duplicate ?? 0,
            corruptPerMyriad: corrupt ?? 0,
            rateBitsPerSecond: rate ?? 0,
            seed: seed
        )
    }

    func validate() throws {
        var plain = LinkFaults.none
        plain.seed = seed
        let isEmpty = faults == plain
        if isEmpty, !clear { throw ValidationError("name a fault, or --clear") }
        if !isEmpty, clear { throw ValidationError("--clear goes alone") }
    }

    func run() async throws {
        try await lab.change { manifest, folder in
            let index = try manifest.index(of: host)
            try await Impairment(folder: folder).apply(
                clear ? .none : faults,
                toHostAt: index,
                of: &manifest
            )
        }
    }

    private static func share(_ text: String) throws -> Int {
        guard let value = LinkFaults.perMyriad(text) else {
            throw ValidationError("`\(text)` is not a share such as 5%")
        }
        return value
    }

    private static func time(_ text: String) throws -> UInt64 {
        guard let value = LinkFaults.microseconds(text) else {
            throw ValidationError("`\(text)` is not a time such as 20ms")
        }
        return value
    }

    private static func rate(_ text: String) throws -> UInt64 {
        guard let value = LinkFaults.bitsPerSecond(text) else {
            throw ValidationError("`\(text)` is not a rate such as 50mbit")
        }
        return value
    }
}
