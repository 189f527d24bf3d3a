import ArgumentParser
import Base
import ControlAPI
import FoundationEssentials
import NodeConfiguration
import NodeRuntime

/// `umbel tickets`: the vouchers this client pays relays with.
struct TicketsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tickets",
        abstract: "Look at vouchers, buy them, keep a copy of them.",
        subcommands: [
            TicketsBalanceCommand.self, TicketsListCommand.self, TicketsBuyCommand.self,
            TicketsBackupCommand.self, TicketsRestoreCommand.self, TicketsAuditCommand.self,
        ],
        defaultSubcommand: TicketsBalanceCommand.self
    )
}

/// `umbel tickets balance`.
struct TicketsBalanceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "balance",
        abstract: "Sum the vouchers up: what was bought is spent, at hand, given back or expired."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.tickets()
        if format.json { return try Output.printJSON(report) }
        Output.print(PaymentText.balance(report, terminal: .output))
    }
}

/// `umbel tickets list`.
struct TicketsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the vouchers, those that expire first before the others."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.tickets()
        if format.json { return try Output.printJSON(report) }
        guard !report.vouchers.isEmpty else { return Output.note("no vouchers") }
        let now = UInt64(max(0, Date().timeIntervalSince1970))
        Output.print(PaymentText.list(report, now: now, width: Terminal.output.width))
    }
}

/// `umbel tickets buy`.
struct TicketsBuyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "buy",
        abstract: "Buy vouchers now, from the account's money.",
        discussion: """
            The daemon buys ahead by itself, at times that tell nobody anything. What is bought here \
            for one relay and used at once tells the mints and that relay more: leave --relay away \
            where you can.
            """
    )

    @Option(
        help: "Size: T has 16 ticks, S 64, L 1,024, B 8,192.",
        completion: .list(["T", "S", "L", "B"])
    )
    var size = "S"
    @Option(
        help: "The relay to pay, by name. Default: those that circuits may take.",
        completion: .shellCommand("umbel relays 2>/dev/null | tail -n +2 | cut -d' ' -f1")
    )
    var relay: String?
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.buy(BuyRequest(denomination: size, relay: relay))
        if format.json { return try Output.printJSON(report) }
        Output.print(PaymentText.balance(report, terminal: .output))
    }
}

/// A passphrase in a file, for commands that seal and open backups.
struct PassphraseOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "File whose first line is the passphrase; only its owner may read it.",
            valueName: "file"
        ),
        completion: .file()
    )
    var passphraseFile: String

    func read() throws -> [UInt8] {
        let line = Array(try SecretFile.read(passphraseFile).prefix { $0 != 10 && $0 != 13 })
        guard line.count >= 8 else {
            throw Failure(
                "the passphrase is too short",
                why: "\(passphraseFile) begins with \(line.count) bytes, 8 are the least",
                hint: "take several words",
                exit: .usage
            )
        }
        return line
    }
}

/// `umbel tickets backup`.
struct TicketsBackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Write the account and its vouchers to an encrypted file."
    )

    @Option(help: ArgumentHelp("Where to write it.", valueName: "file"), completion: .file())
    var output: String
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let secret = try passphrase.read()
        let key = try await Starting.attempt("the backup") { try WalletArchive.newKey(secret) }
        let answer = try await socket.client.backup(WalletBackup(key: key.key.hex))
        guard let sealed = [UInt8](hex: answer.sealed), !sealed.isEmpty else {
            throw Failure(
                "the backup is empty",
                why: "the daemon sent none",
                hint: "use the `umbel` of the version the daemon runs",
                exit: .failed
            )
        }
        try OutputFile.write(WalletArchive.file(salt: key.salt, sealed: sealed), to: output)
        Output.note("\(output): \(Text.bytes(UInt64(sealed.count))), sealed under the passphrase")
    }
}

/// `umbel tickets restore`.
struct TicketsRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Put a backup into the state folder of a client that does not run.",
        discussion: """
            Of two clients with one wallet the second to buy locks the account: end the other one for \
            good. What was bought after the backup is not in it.
            """
    )

    @Argument(help: "The backup.", completion: .file())
    var file: String
    @Option(
        help: ArgumentHelp("The client's state folder.", valueName: "folder"),
        completion: .directory
    )
    var state: String
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var format: FormatOptions

    func run() async throws {
        let secret = try passphrase.read()
        let bytes = try OutputFile.read(file)
        let account: Bytes32
        do {
            account = try WalletArchive.restore(bytes, passphrase: secret, into: state)
        } catch let problem as WalletArchive.Problem {
            throw Failure(
                "the wallet is not restored",
                why: "\(problem)",
                hint: "check the passphrase, the file and the folder; nothing was changed",
                exit: .failed
            )
        }
        if format.json {
            try Output.printJSON(AccountNewCommand.Report(account: account.hex))
        } else {
            Output.print("account \(account.hex)")
        }
    }
}

/// `umbel tickets audit`.
struct TicketsAuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Check the mints' signed totals: no more may come back than was signed.",
        discussion: "The exit status is 1 where a mint says that more came back."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.audit()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(PaymentText.audit(report, width: Terminal.output.width))
        }
        if !report.holds { throw ExitCode(ExitStatus.failed.rawValue) }
    }
}

/// `umbel earnings`.
struct EarningsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "earnings",
        abstract: "Show what the relay behind --socket earned."
    )

    @Flag(help: "Say what each figure means.")
    var explain = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.earnings()
        if format.json { return try Output.printJSON(report) }
        Output.print(PaymentText.earnings(report, explain: explain, terminal: .output))
    }
}
