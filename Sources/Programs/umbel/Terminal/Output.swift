import ControlAPI
import FoundationEssentials
import Glibc
import NodeConfiguration

/// Writes results to stdout and everything else to stderr.
enum Output {
    /// Prints `text` and a line break to stdout.
    ///
    /// Ends the program quietly where nobody reads any more, as `umbel … | head` does.
    static func print(_ text: String) {
        write(text + "\n", to: STDOUT_FILENO)
    }

    /// Prints `text` and a line break to stderr.
    static func note(_ text: String) {
        write(text + "\n", to: STDERR_FILENO)
    }

    /// Prints `report` as one line of JSON.
    static func printJSON(_ report: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }

    /// Says why the command failed, and ends the program.
    static func end(_ failure: Failure) -> Never {
        note(lines(failure.what, failure.why, failure.hint))
        exit(failure.exitCode)
    }

    /// Says what is wrong with a configuration, and ends the program.
    static func end(_ error: ConfigurationError) -> Never {
        for problem in error.problems {
            note(lines(problem.what, problem.why, problem.hint))
        }
        exit(ConfigurationError.exitCode)
    }

    /// The three lines of an error.
    static func lines(_ what: String, _ why: String, _ hint: String) -> String {
        "umbel: \(what)\n  \(why)\n  hint: \(hint)"
    }

    /// Fills the places of standard streams that whoever started this program had closed; the first
    /// file it opened would have one of them, and get all that is printed.
    ///
    /// What is printed to such a stdout fails, as it would have, and what goes to stderr is lost.
    static func fillStandardStreams() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // The lowest free number is the one that is missing.
            _ = open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY)
        }
    }

    /// Writes `text` as it is to `descriptor`.
    ///
    /// Ends the program where stdout does not take it. Nobody waits for what stderr does not take:
    /// a daemon goes on.
    static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                bytes = bytes.dropFirst(count)
            } else if errno == EAGAIN {
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
            } else if errno != EINTR {
                if descriptor == STDERR_FILENO { return }
                // What SIGPIPE would have done, had the network library not switched it off.
                if errno == EPIPE { exit(128 + SIGPIPE) }
                end(
                    Failure(
                        "cannot write to stdout",
                        why: String(cString: strerror(errno)),
                        hint: "see where it leads: a full disk, or closed by who started this",
                        exit: .failed
                    )
                )
            }
        }
    }
}
