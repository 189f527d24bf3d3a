import ArgumentParser
import Base
import ControlAPI
import NodeConfiguration
import NodeRuntime
import Wire

/// `umbel account`: what the mints keep for this client.
struct AccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account",
        abstract: "Look at the account, and move money.",
        subcommands: [
            AccountShowCommand.self, AccountNewCommand.self, AccountTransferCommand.self,
        ],
        defaultSubcommand: AccountShowCommand.self
    )
}

/// `umbel account show`.
struct AccountShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Ask the mints how the account stands."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        try PaymentText.show(await socket.client.account(), format)
    }
}

/// `umbel account new`.
struct AccountNewCommand: AsyncParsableCommand {
    /// What was made, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let account: String
    }

    static let configuration = CommandConfiguration(
        commandName: "new",
        abstract: "Make the account of a client that was not started yet.",
        discussion: """
            A daemon makes its account by itself when it first starts; this makes it sooner, so that \
            money can be asked for. A key that is there is never overwritten.
            """
    )

    @Option(
        help: ArgumentHelp("The client's state folder.", valueName: "folder"),
        completion: .directory
    )
    var state: String
    @OptionGroup var format: FormatOptions

    func run() async throws {
        let account = try await Starting.attempt("key generation") {
            try WalletFiles.createAccount(folder: state)
        }
        if format.json {
            try Output.printJSON(Report(account: account.hex))
        } else {
            Output.print("account \(account.hex)")
        }
    }
}

/// `umbel account transfer`.
struct AccountTransferCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer",
        abstract: "Give money to another account."
    )

    @Option(
        help: ArgumentHelp("The other account: 64 hexadecimal digits.", valueName: "account")
    )
    var to: String
    @Option(help: ArgumentHelp("How much, in ticks; two decimals.", valueName: "ticks"))
    var ticks: TickAmount
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func validate() throws {
        guard Bytes32(hex: to) != nil else {
            throw ValidationError("\(to) is no account: it has 64 hexadecimal digits.")
        }
    }

    func run() async throws {
        let request = TransferRequest(to: to, amount: ticks.credits.hundredths)
        try PaymentText.show(await socket.client.transfer(request), format)
    }
}

/// An amount of ticks on the command line: `12` or `12.34`, more than nothing.
struct TickAmount: ExpressibleByArgument {
    let credits: Credits

    init?(argument: String) {
        let parts = argument.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let whole = UInt64(parts[0]), whole < 1 << 50 else {
            return nil
        }
        var hundredths = whole * 100
        if parts.count == 2 {
            guard (1...2).contains(parts[1].count), let part = UInt64(parts[1]) else { return nil }
            hundredths += parts[1].count == 1 ? part * 10 : part
        }
        guard hundredths > 0 else { return nil }
        credits = Credits(hundredths: hundredths)
    }
}
