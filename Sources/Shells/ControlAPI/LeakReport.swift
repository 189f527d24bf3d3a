/// Whether anything leaves this machine around the tunnel: `POST /v1/leaktest`.
public struct LeakReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The checks, in the order they were made.
    public var checks: [Check]

    /// Whether anything leaks.
    public var isLeaking: Bool { checks.contains { $0.result == .leaking } }
    /// Whether there was anything to test: a machine that is led through no tunnel has nothing.
    public var isTested: Bool { checks.contains { $0.result != .skipped } }

    /// One check.
    public struct Check: Codable, Hashable, Sendable {
        /// How a check came out.
        public enum Result: String, Codable, CaseIterable, Sendable {
            /// Nothing leaks.
            case passed
            /// Something does.
            case leaking
            /// It could not be told, or does not apply now.
            case skipped
        }

        /// Names the rule.
        public var name: String
        /// What was tried.
        public var tried: String
        /// How it came out.
        public var result: Result
        /// What was seen.
        public var detail: String
        /// What to do about it; `nil` where there is nothing to do.
        public var hint: String?

        /// Makes a check from its parts.
        public init(
            name: String,
            tried: String,
            result: Result,
            detail: String,
            hint: String? = nil
        ) {
            self.name = name
            self.tried = tried
            self.result = result
            self.detail = detail
            self.hint = hint
        }
    }

    /// Makes a report in the current schema.
    public init(checks: [Check]) {
        schema = reportSchema
        self.checks = checks
    }
}
