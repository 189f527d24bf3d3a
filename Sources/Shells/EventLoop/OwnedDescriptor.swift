import Glibc

/// A file descriptor with one owner, closed when the owner goes.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The number, valid as long as this value lives.
    public let number: CInt

    /// Takes over `number`, which nothing else may close from now on.
    public init(owning number: CInt) {
        precondition(number >= 0, "a descriptor is never negative")
        self.number = number
    }

    /// Takes over `result` of a system call, a descriptor or a negated errno.
    ///
    /// - Throws: ``IOError`` with `operation` and `subject` for the latter.
    public init(
        _ result: CInt,
        _ operation: String,
        _ subject: String,
        hint: String? = nil
    ) throws(IOError) {
        guard result >= 0 else {
            throw IOError(operation, subject, code: -result, hint: hint)
        }
        self.init(owning: result)
    }

    deinit {
        _ = close(number)
    }
}
