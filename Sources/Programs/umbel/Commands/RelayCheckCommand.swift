import ArgumentParser
import ControlAPI

/// `umbel relay check`: whether others reach a relay.
struct RelayCheckCommand: AsyncParsableCommand {
    /// What was found out, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let reachable: Bool
        let listed: Bool
        let authorities: [String: String]
        let clockOffsetSeconds: Int64?

        private enum CodingKeys: String, CodingKey {
            case schema, reachable, listed, authorities
            case clockOffsetSeconds = "clock_offset_s"
        }
    }

    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "See whether the authorities reach the relay from outside.",
        discussion: """
            Each authority opens a link and a circuit to the relay's UDP port, and asks for the \
            directory at the TCP port of the same number; this waits for what they say. The exit status \
            is 1 where one cannot reach a port or this machine's clock is wrong, 75 where none has \
            answered yet.
            """
    )

    @Option(help: ArgumentHelp("Seconds to wait for answers.", valueName: "seconds"))
    var wait = 60
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: RelaySocketOptions

    func run() async throws {
        let client = socket.client
        var listing: ListingReport?
        let end = ContinuousClock.now + .seconds(wait)
        repeat {
            let report = try await client.relayStatus()
            guard let found = report.listing else {
                throw Failure(
                    "nobody tests \(report.nickname)",
                    why: "its network's file names no addresses of authorities",
                    hint: "put them into network.toml, as the network's operators publish them",
                    exit: .configuration
                )
            }
            listing = found
            if !found.authorities.isEmpty, RelayReach.isSettled(found) { break }
            try await Task.sleep(for: .seconds(1))
        } while ContinuousClock.now < end
        guard let listing else { return }
        let reach = RelayReach(listing)
        if format.json {
            try Output.printJSON(
                Report(
                    reachable: reach == .reached,
                    listed: listing.isListed,
                    authorities: listing.authorities,
                    clockOffsetSeconds: listing.clockOffsetSeconds
                )
            )
        } else {
            for (name, answer) in listing.authorities.sorted(by: { $0.key < $1.key }) {
                Output.print("\(name): \(answer)")
            }
        }
        if let failure = reach.failure { throw failure }
        Output.note(
            listing.isListed
                ? "others reach this relay, and the directory lists it"
                : "others reach this relay; the next directory lists it"
        )
    }
}

/// What authorities say of how a relay can be reached.
enum RelayReach: Equatable {
    case reached
    case silent
    case unreachable(String)
    /// Cells reach it, but nobody gets the directory from it.
    case withoutDirectory(String)
    case refused(String)
    /// It cannot say what it is.
    case untold(String)
    case untested
    /// The machine's clock shows another time than the authorities'.
    case wrongClock(String)

    init(_ listing: ListingReport) {
        let answers = listing.authorities.values.sorted()
        if listing.hasWrongClock {
            self = .wrongClock(DirectoryText.clock(listing))
        } else if let answer = answers.first(where: { $0.hasPrefix("unreachable") }) {
            self = .unreachable(answer)
        } else if let answer = answers.first(where: { $0.hasPrefix("refused") }) {
            self = .refused(answer)
        } else if let answer = answers.first(where: { $0.hasPrefix("not told") }) {
            self = .untold(answer)
        } else if let answer = answers.first(where: { $0.contains("; TCP ") }) {
            self = .withoutDirectory(answer)
        } else if answers.contains("running") {
            self = .reached
        } else if answers.contains("not tested yet") {
            self = .untested
        } else {
            self = .silent
        }
    }

    /// Whether waiting for more answers would change nothing.
    static func isSettled(_ listing: ListingReport) -> Bool {
        let reach = RelayReach(listing)
        if case .wrongClock = reach { return true }
        return reach != .untested && reach != .silent
            && !listing.authorities.values.contains("not tested yet")
    }

    /// What went wrong; `nil` where nothing did.
    var failure: Failure? {
        switch self {
        case .reached: nil
        case .wrongClock(let offset):
            Failure(
                "this machine's clock is wrong: \(offset)",
                why: "a relay beyond two minutes refuses what clients send at once, beyond an hour"
                    + " it is not listed, or takes the directory for one to come",
                hint: "timedatectl set-ntp true",
                exit: .failed
            )
        case .unreachable(let answer):
            Failure(
                "an authority cannot reach the relay's UDP port",
                why: answer,
                hint: "let UDP to the addresses in [listen] through firewall and router, from"
                    + " everywhere" + (answer.contains("; TCP ") ? ", and TCP too" : ""),
                exit: .failed
            )
        case .withoutDirectory(let answer):
            Failure(
                "an authority cannot reach the relay's TCP port, where it hands out the directory",
                why: answer,
                hint: "let TCP to the addresses in [listen] through firewall and router, from"
                    + " everywhere; UDP gets through",
                exit: .failed
            )
        case .refused(let answer):
            Failure(
                "an authority does not take the relay",
                why: answer,
                hint: "mend what it says; it is asked again within a minute",
                exit: .failed
            )
        case .untold(let answer):
            Failure(
                "the authorities are not told of the relay",
                why: answer,
                hint: "name addresses of the internet in [listen], and start the relay again",
                exit: .configuration
            )
        case .untested:
            Failure(
                "no authority has tested the relay yet",
                why: "tests of new relays take turns",
                hint: "umbel relay check --wait 300",
                exit: .temporary
            )
        case .silent:
            Failure(
                "no authority answers the relay",
                why: "they are asked over TCP, at the addresses in network.toml",
                hint: "let this machine open connections to them, and check network.toml",
                exit: .unavailable
            )
        }
    }
}
