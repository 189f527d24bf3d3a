import HostNetwork

/// Why a lab command failed: what, why, and what to do about it.
struct LabError: Error, Hashable, CustomStringConvertible {
    var what: String
    var why: String
    var hint: String?

    init(_ what: String, why: String, hint: String? = nil) {
        self.what = what
        self.why = why
        self.hint = hint
    }

    /// Says first which host or step the network's complaint is about.
    init(_ what: String, _ error: HostNetworkError) {
        self.init(what, why: "\(error.what)\n\(error.why)", hint: error.hint)
    }

    var description: String {
        ([what, why] + (hint.map { ["hint: \($0)"] } ?? [])).joined(separator: "\n")
    }
}
