import Foundation

/// What a process takes of the machine, as the kernel has it.
struct ProcessWeight {
    /// Resident bytes.
    var residentBytes: Double
    /// Open descriptors.
    var descriptors: Int
    /// Processor time so far, in seconds.
    var processorSeconds: Double

    /// Asks the kernel for the process `pid`.
    ///
    /// - Throws: ``LabError`` where it is gone.
    init(_ pid: Int32) throws(LabError) {
        let files = FileManager.default
        guard let status = files.contents(atPath: "/proc/\(pid)/status"),
            let stat = files.contents(atPath: "/proc/\(pid)/stat"),
            let open = try? files.contentsOfDirectory(atPath: "/proc/\(pid)/fd")
        else {
            throw LabError("process \(pid) is gone", why: "the kernel knows nothing of it")
        }
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix("VmRSS:") }
        let words = line?.split(whereSeparator: \.isWhitespace) ?? []
        residentBytes = (words.count > 1 ? Double(words[1]) ?? 0 : 0) * 1_024
        descriptors = open.count
        // The name before them is in parentheses and may have spaces.
        let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?
            .split(separator: " ")
        let ticks = [11, 12].compactMap { index in
            fields.flatMap { $0.count > index ? Double($0[index]) : nil }
        }
        processorSeconds = ticks.reduce(0, +) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// The resident bytes in MiB.
    var mebibytes: Double { residentBytes / 1_048_576 }
}
