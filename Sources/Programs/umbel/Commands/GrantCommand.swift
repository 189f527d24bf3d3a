import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import EventLoop
import FoundationEssentials
import NodeConfiguration
import NodeRuntime
import Tickets
import Wire

/// `umbel grant`: money that enough admins give to an account together.
struct GrantCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grant",
        abstract: "Give money to accounts, as admins of the network.",
        subcommands: [
            GrantKeygenCommand.self, GrantSignCommand.self, GrantShowCommand.self,
            GrantSendCommand.self, GrantSubmitCommand.self,
        ]
    )
}

/// `umbel grant keygen`.
struct GrantKeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make the key of an admin."
    )

    @OptionGroup var options: BodyKeyOptions

    func run() async throws {
        try await options.make()
    }
}

/// `umbel grant sign`.
struct GrantSignCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Make a grant, or add a signature to one.",
        discussion: """
            Every admin runs this with the same account, amount and reference. Where the output is \
            there already and says the same, the signature is added to it. Mints count a reference \
            once, however often it is sent.
            """
    )

    @Option(
        help: ArgumentHelp("An admin's key; may be given several times.", valueName: "file"),
        completion: .file()
    )
    var key: [String]
    @Option(
        help: ArgumentHelp("The network's trust root.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var network: String
    @Option(
        help: ArgumentHelp("The account: 64 hexadecimal digits.", valueName: "account")
    )
    var account: String
    @Option(help: ArgumentHelp("How much, in ticks; two decimals.", valueName: "ticks"))
    var ticks: TickAmount
    @Option(help: "What tells this grant from all others, such as the number of an invoice.")
    var reference: String
    @Option(help: ArgumentHelp("The grant.", valueName: "file"), completion: .file())
    var output: String
    @OptionGroup var format: FormatOptions

    func run() throws {
        let configuration = try NetworkConfiguration(file: network)
        guard let account = Bytes32(hex: account) else {
            throw ValidationError("\(account) is no account: it has 64 hexadecimal digits.")
        }
        let admins = try key.map { path in
            let key = Ed25519.SigningKey(seed: try KeyFile.read(path))
            guard let admin = configuration.admins.first(where: { $0.key == key.publicKey }) else {
                throw Failure(
                    "\(path) is no admin's key",
                    why: "\(network) does not list its public key \(key.publicKey.hex)",
                    hint: "add it to \(network) under [[admin]], or name another key",
                    exit: .configuration
                )
            }
            return GrantRail.Admin(index: admin.index, key: key)
        }
        let name = SHA256.digest(Array("umbel/1/grant\0".utf8) + Array(reference.utf8))
        var rail = try GrantRail(
            network: NetworkID(configuration.networkID),
            admins: admins,
            settlement: .zero
        )
        let receipt = try rail.deposit(ticks.credits, to: account, key: name)
        var grant = try MintGrant(parsing: receipt.bytes)
        if FileManager.default.fileExists(atPath: output) {
            let known = try GrantFile.read(output)
            guard known.body == grant.body else {
                throw Failure(
                    "\(output) is another grant",
                    why: "it names another account, amount or reference",
                    hint: "umbel grant show \(output) --network \(network)",
                    exit: .failed
                )
            }
            let signers = Set(grant.signatures.map(\.mint))
            grant.signatures += known.signatures.filter { !signers.contains($0.mint) }
            grant.signatures.sort { $0.mint < $1.mint }
        }
        try OutputFile.write(Array((grant.encoded.hex + "\n").utf8), to: output)
        try GrantFile.tell(grant, configuration, format)
    }
}

/// Grants in files: hexadecimal digits on one line.
enum GrantFile {
    /// What a grant says, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let id: String
        let account: String
        let amount: UInt64
        let signatures: Int
        let threshold: Int
        let isValid: Bool

        enum CodingKeys: String, CodingKey {
            case schema, id, account, amount, signatures, threshold
            case isValid = "valid"
        }
    }

    static func read(_ path: String) throws -> MintGrant {
        let text = String(decoding: try OutputFile.read(path), as: UTF8.self)
        guard let bytes = [UInt8](hex: text.filter { !$0.isWhitespace }),
            let grant = try? MintGrant(parsing: bytes)
        else {
            throw Failure(
                "\(path) is no grant",
                why: "it does not hold one as hexadecimal digits",
                hint: "ask the admins for it again",
                exit: .failed
            )
        }
        return grant
    }

    static func tell(
        _ grant: MintGrant,
        _ configuration: NetworkConfiguration,
        _ format: FormatOptions
    ) throws {
        let isValid = grant.isValid(
            network: NetworkID(configuration.networkID),
            admins: configuration.admins.map(\.key),
            threshold: configuration.grantThreshold
        )
        if format.json {
            return try Output.printJSON(
                Report(
                    id: grant.id.hex,
                    account: grant.account.hex,
                    amount: grant.amount.hundredths,
                    signatures: grant.signatures.count,
                    threshold: configuration.grantThreshold,
                    isValid: isValid
                )
            )
        }
        Output.print(
            """
            \(grant.amount) ticks for \(grant.account.hex)
            \(grant.signatures.count) signatures of \(configuration.grantThreshold) needed: \
            \(isValid ? "the mints take it" : "the mints do not take it yet")
            """
        )
    }
}

/// `umbel grant show`.
struct GrantShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a grant, and whether enough admins have signed it."
    )

    @Argument(help: "The grant.", completion: .file())
    var file: String
    @Option(
        help: ArgumentHelp("The network's trust root.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var network: String
    @OptionGroup var format: FormatOptions

    func run() throws {
        try GrantFile.tell(
            GrantFile.read(file),
            NetworkConfiguration(file: network),
            format
        )
    }
}

/// `umbel grant send`: the admins' way.
struct GrantSendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Bring grants to the mints, in the clear, as an admin."
    )

    @Argument(help: "The grants.", completion: .file())
    var files: [String]
    @Option(
        help: ArgumentHelp("The network's trust root.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var network: String

    func run() async throws {
        let delivery = GrantDelivery(try NetworkConfiguration(file: network))
        for file in files {
            let grant = try GrantFile.read(file)
            let answers: [(mint: String, refusal: String?)]
            do {
                answers = try await delivery.send(grant)
            } catch {
                throw Failure(
                    "\(file) cannot be delivered",
                    why: "\(error)",
                    hint: "umbel authority show CONSENSUS --network \(network)",
                    exit: .temporary
                )
            }
            let refusals = answers.compactMap { answer in
                answer.refusal.map { "\(answer.mint): \($0)" }
            }
            guard refusals.count < answers.count else {
                throw Failure(
                    "no mint takes \(file)",
                    why: refusals.joined(separator: "; "),
                    hint: "umbel grant show \(file) --network \(network)",
                    exit: .failed
                )
            }
            Output.print("\(file): taken by \(answers.count - refusals.count) mints")
            for refusal in refusals { Output.note(refusal) }
        }
    }
}

/// `umbel grant submit`: the owner's way.
struct GrantSubmitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit",
        abstract: "Bring a grant for this client's account to the mints, through circuits."
    )

    @Argument(help: "The grant.", completion: .file())
    var file: String
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let grant = try GrantFile.read(file)
        let report = try await socket.client.submit(GrantSubmission(grant: grant.encoded.hex))
        try PaymentText.show(report, format)
    }
}
