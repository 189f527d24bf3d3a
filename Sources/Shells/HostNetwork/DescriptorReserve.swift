import Foundation
import Glibc

/// Descriptors this process keeps free, so that it never runs out of them half-way through a task.
///
/// New work asks for more than what keeps standing work in order, so a process at its limit refuses
/// the former and still does the latter. Test matrix row 85.
public enum DescriptorReserve {
    /// What it is needed for.
    public enum Purpose: Sendable {
        /// One program: its streams and its end, and what other threads open meanwhile.
        case program
        /// A tunnel more: its owner, its device and its program; then one program's reserve is left.
        case tunnel

        /// Descriptors that must be free.
        var count: Int {
            switch self {
            case .program: 16
            case .tunnel: 40
            }
        }
    }

    /// Sees that there are as many free as `purpose` takes.
    ///
    /// - Parameters:
    ///   - purpose: what is about to be begun.
    ///   - what: the error's first line, where there are fewer.
    /// - Throws: ``HostNetworkError`` that tells the limit and how to raise it.
    public static func require(
        for purpose: Purpose,
        orSay what: @autoclosure () -> String
    ) throws(HostNetworkError) {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return
        }
        // Where even this cannot be read, there is none left.
        let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        guard let open, rlim_t(open + purpose.count) <= limit.rlim_cur else {
            throw HostNetworkError(
                what: what(),
                why: "this process may have \(limit.rlim_cur) files open, and nearly all are",
                hint: "raise LimitNOFILE of the unit, or `ulimit -n`"
            )
        }
    }
}
