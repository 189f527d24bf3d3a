import CLinux
import Glibc

/// A refusal by the operating system: what was attempted, on what, and why it failed.
///
/// Its description reads `bind 192.0.2.1:4433: address already in use (EADDRINUSE)`.
public struct IOError: Error, Hashable, Sendable {
    /// The verb, such as `bind`.
    public let operation: String
    /// The path, address or name it was attempted on.
    public let subject: String
    /// The `errno` value.
    public let code: CInt
    private let specificHint: String?

    /// Describes a failure; `hint` overrides the general advice for `code`.
    public init(_ operation: String, _ subject: String, code: CInt, hint: String? = nil) {
        self.operation = operation
        self.subject = subject
        self.code = code
        specificHint = hint
    }

    /// What a person can do about it, in one line; `nil` where nothing general is known.
    public var hint: String? {
        specificHint ?? Self.generalHint(for: code)
    }

    /// The code's name in the C headers, such as `EADDRINUSE`.
    public var codeName: String {
        guard let name = unsafe clinux_errno_name(code) else { return "errno \(code)" }
        return unsafe String(cString: name)
    }

    /// Whether the process lacks a privilege, rather than the machine a resource.
    public var isPrivilegeMissing: Bool {
        code == EPERM || code == EACCES
    }

    private static func generalHint(for code: CInt) -> String? {
        switch code {
        case EPERM:
            "run as root or give the program CAP_NET_ADMIN"
        case EADDRINUSE:
            "another program has this port: `ss -ulpn` names it"
        case EADDRNOTAVAIL:
            "no interface of this machine has that address: `ip address` lists them"
        case EMFILE:
            "the process is out of descriptors: raise LimitNOFILE or `ulimit -n`"
        default: nil
        }
    }
}

extension IOError: CustomStringConvertible {
    /// Operation, subject and cause in one line, without the hint.
    public var description: String {
        guard let text = unsafe clinux_errno_text(code) else {
            return "\(operation) \(subject): errno \(code)"
        }
        let cause = unsafe String(cString: text)
        return "\(operation) \(subject): \(Self.lowercasedStart(cause)) (\(codeName))"
    }

    /// "Address in use" as the middle of a sentence; "RFS specific error" stays.
    private static func lowercasedStart(_ text: String) -> String {
        guard let first = text.first, text.dropFirst().first?.isUppercase == false else {
            return text
        }
        return first.lowercased() + text.dropFirst()
    }
}
