import CLinux
import Glibc

/// The system gave no random bytes: nothing secret can be made, and the program that wanted it ends.
public struct EntropyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was asked of the system, and what it answered.
    public let cause: IOError

    /// What a person can do about it.
    public var hint: String { "without random numbers no key is made; check getrandom and seccomp" }

    /// What was asked and why it failed, in one line.
    public var description: String { "\(cause)" }
}

/// Random bytes from the kernel, all of those asked for or none.
///
/// A program that cannot have them makes no keys: it ends with the error thrown here.
public struct SystemEntropy: Sendable {
    /// Fills the span; returns how many bytes came, or a negated errno.
    public typealias Source = @Sendable (inout MutableRawSpan) -> Int

    /// The kernel's generator.
    public static let kernel = Self { bytes in
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe Int(clinux_random(base, buffer.count))
        }
    }

    /// getrandom never cuts requests of this size short.
    private static let chunkByteCount = 256
    private static let interruptionLimit = 64
    private let source: Source

    /// Draws from `source`, in requests of at most 256 bytes.
    public init(from source: @escaping Source) {
        self.source = source
    }

    /// Draws `byteCount` random bytes.
    ///
    /// - Throws: ``EntropyError`` when the source fails, with `EIO` when it gives fewer than asked.
    public func read(byteCount: Int) throws(EntropyError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount)
        while bytes.count < byteCount {
            bytes += try chunk(byteCount: min(byteCount - bytes.count, Self.chunkByteCount))
        }
        return bytes
    }

    private func chunk(byteCount: Int) throws(EntropyError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        for _ in 0..<Self.interruptionLimit {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            let result = source(&raw)
            if result == byteCount { return bytes }
            if result == -Int(EINTR) { continue }
            let code = result < 0 ? CInt(clamping: -result) : EIO
            let got = result < 0 ? "" : ", got \(result)"
            throw Self.failure("\(byteCount) random bytes\(got)", code)
        }
        throw Self.failure("\(byteCount) random bytes", EINTR)
    }

    private static func failure(_ subject: String, _ code: CInt) -> EntropyError {
        EntropyError(cause: IOError("read", subject, code: code))
    }
}
