import Base

/// What is wrong with a host's cable, both ways; all zero is a good cable.
struct LinkFaults: Hashable, Codable, Sendable {
    /// Packets lost of 10 000, each way.
    var lossPerMyriad = 0
    /// Time every frame is held, each way.
    var delayMicroseconds: UInt64 = 0
    /// The most a frame is held beyond the delay, drawn anew for each.
    var jitterMicroseconds: UInt64 = 0
    /// Frames of 10 000 that are not held, and so overtake others.
    var reorderPerMyriad = 0
    /// Frames of 10 000 that arrive twice.
    var duplicatePerMyriad = 0
    /// Frames of 10 000 that arrive with one bit turned.
    var corruptPerMyriad = 0
    /// Bits per second, each way; zero is unlimited.
    var rateBitsPerSecond: UInt64 = 0
    /// Where the drawing of chances begins.
    var seed: UInt64 = 1

    /// A cable without faults.
    static let none = LinkFaults()

    /// Whether frames must go through a process of ours: the kernel here cannot do these.
    var needsBridge: Bool {
        delayMicroseconds + jitterMicroseconds > 0
            || reorderPerMyriad + duplicatePerMyriad + corruptPerMyriad > 0
    }

    /// Reads `5%`, `0.25%` as parts of 10 000; `nil` for anything else.
    static func perMyriad(_ text: String) -> Int? {
        guard text.hasSuffix("%"), let value = Double(text.dropLast()), (0...100).contains(value)
        else { return nil }
        return Int((value * 100).rounded())
    }

    /// Reads `20ms`, `1.5s`, `250us` as microseconds, at most a minute; `nil` for anything else.
    static func microseconds(_ text: String) -> UInt64? {
        for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] where text.hasSuffix(unit) {
            guard let value = Double(text.dropLast(unit.count)), value >= 0,
                value * factor <= 60e6
            else { return nil }
            return UInt64((value * factor).rounded())
        }
        return nil
    }

    /// Reads `50mbit`, `1gbit`, `256kbit` as bits per second; `nil` for anything else.
    static func bitsPerSecond(_ text: String) -> UInt64? {
        for (unit, factor) in [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)]
        where text.hasSuffix(unit) {
            guard let value = Double(text.dropLast(unit.count)), value * factor >= 8_000,
                value * factor <= 100e9
            else { return nil }
            return UInt64((value * factor).rounded())
        }
        return nil
    }
}

extension LinkFaults: CustomStringConvertible {
    /// The faults as the command line takes them.
    var description: String {
        let percent = { (count: Int) in "\(Double(count) / 100)%" }
        let parts: [(String, String)?] = [
            lossPerMyriad > 0 ? ("loss", percent(lossPerMyriad)) : nil,
            delayMicroseconds > 0 ? ("delay", "\(delayMicroseconds)us") : nil,
            jitterMicroseconds > 0 ? ("jitter", "\(jitterMicroseconds)us") : nil,
            reorderPerMyriad > 0 ? ("reorder", percent(reorderPerMyriad)) : nil,
            duplicatePerMyriad > 0 ? ("duplicate", percent(duplicatePerMyriad)) : nil,
            corruptPerMyriad > 0 ? ("corrupt", percent(corruptPerMyriad)) : nil,
            rateBitsPerSecond > 0 ? ("rate", "\(rateBitsPerSecond / 1_000)kbit") : nil,
        ]
        let present = parts.compactMap(\.self)
        return present.isEmpty ? "none" : present.map { "\($0) \($1)" }.joined(separator: ", ")
    }
}
