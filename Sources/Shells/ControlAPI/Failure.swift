/// Why a command failed, in the three parts the program prints, and its exit status.
public struct Failure: Error, Codable, Hashable, Sendable {
    /// What failed.
    public var what: String
    /// Why it did.
    public var why: String
    /// What to do about it, usually a command.
    public var hint: String
    /// The status to exit with.
    public var exitCode: Int32

    /// Makes a failure from its parts.
    public init(_ what: String, why: String, hint: String, exit status: ExitStatus) {
        self.what = what
        self.why = why
        self.hint = hint
        self.exitCode = status.rawValue
    }

    private enum CodingKeys: String, CodingKey {
        case what, why, hint
        case exitCode = "exit_code"
    }
}

/// The exit statuses of the program; values above 60 are those of `sysexits.h`.
public enum ExitStatus: Int32, Sendable {
    /// The operation failed.
    case failed = 1
    /// There is no connection (`status`).
    case notConnected = 2
    /// The command line is wrong.
    case usage = 64
    /// A service that is needed does not answer.
    case unavailable = 69
    /// A fault of the program.
    case internalFault = 70
    /// It may work later.
    case temporary = 75
    /// This user may not.
    case permission = 77
    /// A configuration is wrong.
    case configuration = 78
    /// The user interrupted it.
    case interrupted = 130
}
