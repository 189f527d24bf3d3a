import Base
import FoundationEssentials
import Glibc
import NodeConfiguration
import NodeRuntime

/// The questions of `umbel relay init`, on a terminal: each until its answer could stand in the file.
enum RelayQuestions {
    /// Asks for what `command` was not given.
    static func ask(_ command: inout RelayInitCommand) {
        if command.name == nil {
            command.name = prompt("Name of the relay", check: .nickname, default: nil)
        }
        if command.contact == nil {
            command.contact = prompt(
                "How to reach you (it is public; empty for nothing)",
                check: .contact,
                default: ""
            )
        }
        if command.address.isEmpty {
            let own = ListenCheck.suggestions(port: suggestedPort).map(\.description)
            let text = prompt(
                "Address and port to receive on",
                check: .addresses,
                default: own.isEmpty ? nil : own.joined(separator: " ")
            )
            command.address = text.split(separator: " ").map(String.init)
        }
        if command.rate == nil {
            let text = prompt(
                "Limit, such as 100 Mbit/s (empty for none)",
                check: .rate,
                default: ""
            )
            command.rate = text.isEmpty ? nil : text
        }
        if command.quota == nil {
            let text = prompt(
                "Quota for a month, such as 2 TB (empty for none)",
                check: .quota,
                default: ""
            )
            command.quota = text.isEmpty ? nil : text
        }
        guard !command.exit else { return }
        let isExit = prompt(
            "Let traffic leave the network here? yes or no",
            check: .decision,
            default: "no"
        )
        guard isExit.lowercased().hasPrefix("y") else { return }
        command.exit = true
        let preset = prompt(
            "What to let out: web, reduced or open",
            check: .preset,
            default: command.preset.rawValue
        )
        command.preset = RelayInitCommand.Preset(rawValue: preset) ?? command.preset
    }

    private static let suggestedPort: UInt16 = 4_433

    /// Asks until there is an answer that will do, or the default is taken.
    private static func prompt(
        _ question: String,
        check: AnswerCheck,
        default fallback: String?
    ) -> String {
        while true {
            let hint = fallback.map { $0.isEmpty ? "" : " [\($0)]" } ?? ""
            Output.write("\(question)\(hint): ", to: STDERR_FILENO)
            guard let line = readLine() else {
                // Whoever ended the input takes the defaults; what has none is said to be missing.
                Output.write("\n", to: STDERR_FILENO)
                return fallback ?? ""
            }
            let answer = line.trimmed
            if answer.isEmpty, let fallback { return fallback }
            guard !answer.isEmpty else { continue }
            guard let complaint = check.complaint(about: answer) else { return answer }
            Output.note(
                Text.wrapped(complaint, after: "  ", width: Terminal(STDERR_FILENO).width)
            )
        }
    }
}

extension String {
    /// The text without spaces at its ends.
    fileprivate var trimmed: String {
        let front = drop { $0.isWhitespace }
        return String(String(front.reversed()).drop { $0.isWhitespace }.reversed())
    }
}
