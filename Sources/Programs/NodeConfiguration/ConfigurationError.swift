/// One thing that is wrong with a configuration, in the three parts the program prints.
public struct ConfigurationProblem: Error, Hashable, Sendable {
    /// What failed, beginning with `file:line:` or `file:`.
    public var what: String
    /// Why that is a problem.
    public var why: String
    /// What to do about it.
    public var hint: String

    /// Makes a problem from its three parts.
    public init(what: String, why: String, hint: String) {
        self.what = what
        self.why = why
        self.hint = hint
    }
}

/// Everything found wrong in one reading of a configuration, in order of lines.
public struct ConfigurationError: Error, Hashable, Sendable {
    /// The exit status of a program that stops for it: `EX_CONFIG`.
    public static let exitCode: Int32 = 78

    /// The problems; never empty.
    public let problems: [ConfigurationProblem]

    /// Makes the error of `problems`.
    ///
    /// - Precondition: there is at least one.
    public init(_ problems: [ConfigurationProblem]) {
        precondition(!problems.isEmpty, "a configuration error without a problem")
        self.problems = problems
    }
}

extension ConfigurationError: CustomStringConvertible {
    /// Each problem in three lines.
    public var description: String {
        problems.map { "\($0.what)\n  \($0.why)\n  hint: \($0.hint)" }.joined(separator: "\n")
    }
}
