import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import Directory
import EventLoop
import FoundationEssentials
import NodeConfiguration
import NodeRuntime
import Wire

/// `umbel authority`: what the bodies that sign the directory do.
struct AuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "authority",
        abstract: "Make and sign the directory.",
        subcommands: [
            AuthorityRunCommand.self, AuthorityKeygenCommand.self, AuthoritySignCommand.self,
            AuthorityShowCommand.self,
        ]
    )
}

/// `umbel authority keygen`.
struct AuthorityKeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make the key of an authority."
    )

    @OptionGroup var options: BodyKeyOptions

    func run() async throws {
        try await options.make()
    }
}

/// `umbel authority sign`: one authority's signature under a consensus of descriptors.
struct AuthoritySignCommand: ParsableCommand {
    /// What came of it, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let digest: String
        let relays: Int
        let signatures: Int
        let threshold: Int
        let omitted: [String]
    }

    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Make the consensus from descriptors and sign it.",
        discussion: """
            Every authority runs this over the same descriptors and parameters. Where the output \
            is there already and has the same body, the signature is added to it.
            """
    )

    @Option(help: ArgumentHelp("The authority's key.", valueName: "file"), completion: .file())
    var key: String
    @Option(
        help: ArgumentHelp("The network's trust root.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var network: String
    @Option(
        help: ArgumentHelp("The network's parameters.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var parameters: String
    @Option(
        help: ArgumentHelp("Folder of descriptors, *.desc.", valueName: "folder"),
        completion: .directory
    )
    var descriptors: String
    @Option(help: ArgumentHelp("The consensus.", valueName: "file"), completion: .file())
    var output: String
    @Option(
        help: ArgumentHelp(
            "When it begins to hold, in seconds since 1970.",
            discussion: "Default: that of the output, else the interval that runs now.",
            valueName: "time"
        )
    )
    var validAfter: UInt64?
    @OptionGroup var format: FormatOptions

    func run() throws {
        do {
            try sign()
        } catch let error as DirectoryError {
            throw Failure(
                "the consensus cannot be signed",
                why: "\(error)",
                hint: "umbel authority show \(output) --network \(network)",
                exit: .failed
            )
        } catch let error as WireError {
            throw Failure(
                "the consensus cannot be made",
                why: "\(error)",
                hint: "umbel check-config \(parameters) --role parameters",
                exit: .configuration
            )
        }
    }

    private func sign() throws {
        let configuration = try NetworkConfiguration(file: network)
        let root = try TrustRoot(configuration)
        let parameters = try NetworkParameters(ParametersConfiguration(file: parameters))
        let signingKey = Ed25519.SigningKey(seed: try KeyFile.read(key))
        guard let authority = root.authorities.first(where: { $0.key == signingKey.publicKey })
        else {
            throw Failure(
                "\(key) is no authority's key",
                why: "\(network) does not list its public key \(signingKey.publicKey.hex)",
                hint: "add it to \(network), or name another key",
                exit: .configuration
            )
        }
        let existing = try existingDocument()
        let time = validAfter ?? existing?.consensus.validAfter.seconds ?? Self.current(parameters)
        let outcome = try ConsensusBuilder(
            network: root.network,
            parameters: parameters,
            validAfter: WallTime(seconds: time)
        ).body(from: readDescriptors())
        var document = try ConsensusDocument(body: outcome.body)
        if let existing {
            guard existing.digest == document.digest else {
                throw Failure(
                    "\(output) is another consensus",
                    why: "its body differs from what these descriptors and parameters make",
                    hint: "compare inputs with the other authorities, or move the file away",
                    exit: .failed
                )
            }
            document = existing
        }
        document = try document.adding(
            document.signature(by: authority.index, with: signingKey)
        )
        try OutputFile.write(document.encoded(), to: output)
        try tell(document, outcome, root)
    }

    private func existingDocument() throws -> ConsensusDocument? {
        guard FileManager.default.fileExists(atPath: output) else { return nil }
        return try ConsensusDocument(parsing: OutputFile.read(output))
    }

    private func readDescriptors() throws -> [SignedDescriptor] {
        let names = try FileManager.default.contentsOfDirectory(atPath: descriptors)
            .filter { $0.hasSuffix(".desc") }.sorted()
        return try names.map { name in
            let path = "\(descriptors)/\(name)"
            do {
                return try SignedDescriptor(parsing: OutputFile.read(path))
            } catch let error as DirectoryError {
                throw Failure(
                    "\(path) is no descriptor",
                    why: "\(error)",
                    hint: "ask the operator for it again, or move it away",
                    exit: .failed
                )
            }
        }
    }

    private static func current(_ parameters: NetworkParameters) -> UInt64 {
        let interval = UInt64(max(1, parameters.intervalSeconds))
        return WallClock.now().seconds / interval * interval
    }

    private func tell(
        _ document: ConsensusDocument,
        _ outcome: ConsensusBuilder.Outcome,
        _ root: TrustRoot
    ) throws {
        let report = Report(
            digest: document.digest.hex,
            relays: outcome.listedCount,
            signatures: root.signers(of: document).count,
            threshold: root.threshold,
            omitted: outcome.omissions.map { "\($0.id): \($0.reason)" }
        )
        if format.json { return try Output.printJSON(report) }
        Output.print(
            "consensus \(report.digest.prefix(16)): \(report.relays) relays, "
                + "\(report.signatures) of \(root.threshold) signatures needed"
        )
        for omission in report.omitted { Output.note("left out \(omission)") }
    }
}

/// `umbel authority show`: what a consensus says and who signed it.
struct AuthorityShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a consensus: relays, times, and who signed."
    )

    @Argument(help: "The consensus.", completion: .file())
    var file: String
    @Option(
        help: ArgumentHelp("The network's trust root.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var network: String

    func run() throws {
        do {
            let root = try TrustRoot(NetworkConfiguration(file: network))
            let document = try ConsensusDocument(parsing: OutputFile.read(file))
            let signers = root.signers(of: document).map(\.name)
            let consensus = document.consensus
            Output.print("digest       \(document.digest.hex)")
            Output.print("valid after  \(consensus.validAfter.seconds)")
            Output.print("valid until  \(consensus.validUntil.seconds)")
            Output.print(
                "signed by    \(signers.joined(separator: ", ")) "
                    + "(\(signers.count), \(root.threshold) needed)"
            )
            for relay in consensus.relays {
                let addresses = relay.addresses.all.map { "\($0)" }.joined(separator: " ")
                let country = relay.country.map { "\($0)" } ?? "??"
                let role = relay.flags.contains(.exit) ? "exit" : "relay"
                Output.print("\(relay.id)  \(relay.nickname)  \(country)  \(role)  \(addresses)")
            }
            _ = try root.verify(document, at: WallClock.now())
        } catch let error as DirectoryError {
            throw Failure(
                "\(file) cannot be trusted",
                why: "\(error)",
                hint: "ask the authorities for the newest consensus",
                exit: .failed
            )
        }
    }
}

extension NetworkParameters {
    /// The parameters a `parameters.toml` describes.
    ///
    /// - Throws: `WireError` where values do not go together.
    init(_ configuration: ParametersConfiguration) throws(WireError) {
        self.init()
        let seconds = Self.seconds(configuration.interval)
        intervalSeconds = seconds
        freshSeconds = seconds
        validSeconds = seconds * UInt32(clamping: configuration.validIntervals)
        subnetPrefixV4 = UInt32(clamping: configuration.ipv4SubnetBits)
        subnetPrefixV6 = UInt32(clamping: configuration.ipv6SubnetBits)
        guardExitCountriesDiffer = configuration.hasDistinctCountries
        guardSampleMinimum = UInt32(clamping: configuration.guardSample)
        guardSampleMaximum = max(guardSampleMaximum, guardSampleMinimum)
        guardPrimaryCount = UInt32(clamping: configuration.guardPrimary)
        middleSetCount = UInt32(clamping: configuration.middleLayer)
        minuteWindow = UInt32(clamping: configuration.minuteWindow)
        circuitKeySeconds = Self.seconds(configuration.circuitKeyPeriod)
        measureSeconds = Self.seconds(configuration.measurePeriod)
        measureCells = UInt32(clamping: configuration.measureCells)
        measureMilliseconds = UInt32(clamping: configuration.measureTime.nanoseconds / 1_000_000)
        weightGrowthSeconds = Self.seconds(configuration.weightDoubling)
        let payment = configuration.payment
        paymentsRequired = payment.isRequired
        mintCount = UInt32(clamping: payment.mints)
        mintSetVersion = UInt32(clamping: payment.setVersion)
        ticketEpochSeconds = Self.seconds(payment.epoch)
        depositSeconds = Self.seconds(payment.deposits)
        voucherBatch = UInt32(clamping: payment.batch)
        tickCells = UInt32(clamping: payment.tickCells)
        exitTickCells = UInt32(clamping: payment.exitTickCells)
        burnPerMille = UInt32(clamping: payment.burn)
        try validate()
    }

    private static func seconds(_ span: TimeSpan) -> UInt32 {
        UInt32(clamping: span.nanoseconds / 1_000_000_000)
    }
}
