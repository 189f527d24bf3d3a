public import Base
import TOMLKit

extension RelayConfiguration {
    /// What the relay may take of its operator's line, and when.
    public struct Line: Hashable, Sendable {
        /// Bits a second it sends; `nil` for all there is.
        public var sentBitRate: UInt64?
        /// Bits a second it receives; `nil` for all there is.
        public var receivedBitRate: UInt64?
        /// Bytes it carries in a period; `nil` for any number.
        public var quota: UInt64?
        /// The period of the quota.
        public var quotaPeriod: QuotaPeriod
        /// The day of the month on which a monthly period begins: 1 to 28.
        public var quotaDay: Int
        /// Which bytes count against the quota.
        public var quotaCounts: QuotaCounts
        /// Minutes of the day, by this machine's clock, in which it serves; empty for all.
        public var hours: [Range<Int>]
        /// Bytes of cells and packets that may wait in it.
        public var memory: UInt64
        /// How long a stop waits for circuits to end by themselves.
        public var drainTime: TimeSpan
    }

    /// Lengths of time a quota may be for.
    public enum QuotaPeriod: String, CaseIterable, Sendable {
        /// One day, one week from Monday, or one month.
        case day, week, month
    }

    /// Bytes that may count against a quota.
    public enum QuotaCounts: String, CaseIterable, Sendable {
        /// Both directions together, the larger of them, or one of them.
        case sum, larger, sent, received
    }

    /// Where the relay tells what it counts.
    public struct Metrics: Hashable, Sendable {
        /// The address of this machine's loopback that answers; `nil` for none.
        public var listenAddress: SocketAddress?
    }
}

extension RelayConfiguration.Line {
    init(_ section: Section) {
        let both = section.optional("rate", .bitRate)
        sentBitRate = section.optional("rate_sent", .bitRate) ?? both
        receivedBitRate = section.optional("rate_received", .bitRate) ?? both
        quota = section.optional("quota", .byteCount)
        quotaPeriod = section.value(
            "quota_period",
            .choice(RelayConfiguration.QuotaPeriod.self),
            default: .month
        )
        quotaDay = section.value("quota_day", .integer(1...28), default: 1)
        quotaCounts = section.value(
            "quota_counts",
            .choice(RelayConfiguration.QuotaCounts.self),
            default: .sum
        )
        hours = section.value("hours", .list(.hours, limit: 12), default: [])
        memory = section.value("memory", .byteCount, default: 64 << 20)
        drainTime = section.value(
            "drain",
            .duration(.zero ... .seconds(600)),
            default: .seconds(5)
        )
        if let rate = [sentBitRate, receivedBitRate].compactMap(\.self).min(),
            rate < Self.leastBitRate
        {
            section.note(
                "rate",
                what: "the rate in [limits] is \(rate) bit/s",
                why: "a relay slower than \(Self.leastBitRate / 1_000) kbit/s cannot answer a"
                    + " handshake in time",
                hint: "set a higher `rate`, leave it out for no limit, or stop the relay"
            )
        }
        if let quota, quota < Self.leastQuota {
            section.note(
                "quota",
                what: "`quota` in [limits] is \(quota) bytes",
                why: "a relay needs more than \(Self.leastQuota) bytes to be measured and listed",
                hint: "set a higher `quota`, leave it out for no limit, or stop the relay"
            )
        }
        if memory < Self.leastMemory {
            section.note(
                "memory",
                what: "`memory` in [limits] is \(memory) bytes",
                why: "cells wait in it; fewer than \(Self.leastMemory) bytes drop them all",
                hint: "set `memory` to \"1 MiB\" or more"
            )
        }
    }

    private static let leastBitRate: UInt64 = 64_000
    private static let leastQuota: UInt64 = 1_000_000
    private static let leastMemory: UInt64 = 1 << 20
}

extension RelayConfiguration.Metrics {
    init(_ section: Section) {
        listenAddress = section.optional("listen", .socketAddress)
        guard let address = listenAddress, !address.ip.isLoopback else { return }
        section.note(
            "listen",
            what: "`listen` in [metrics] is \(address.ip), which others can reach",
            why: "who sees a relay's counters sees its clients' traffic",
            hint: "set `listen` to \"127.0.0.1:\(address.port)\", and fetch it through SSH or a VPN"
        )
    }
}

extension ValueKind where Value == UInt64 {
    /// A rate in bits a second.
    static let bitRate = Self(
        expectation: "a rate such as \"100 Mbit/s\", \"64 kbit/s\" or \"1.5 Gbit/s\""
    ) { value in
        value.string.flatMap { Text.amount($0, units: Text.bitRates) }
    } write: {
        Text.quoted("\($0) bit/s")
    }

    /// A number of bytes.
    static let byteCount = Self(
        expectation: "a number of bytes such as \"500 GB\", \"2 TB\" or \"64 MiB\""
    ) { value in
        value.string.flatMap { Text.amount($0, units: Text.byteCounts) }
    } write: {
        Text.quoted("\($0) B")
    }
}

extension ValueKind where Value == Range<Int> {
    /// A part of the day, in minutes; one that goes over midnight ends beyond 1,440.
    static let hours = Self(expectation: "a part of the day such as \"22:00-07:00\"") { value in
        value.string.flatMap(Text.hours)
    } write: {
        Text.quoted(Text.hours($0))
    }
}

extension Text {
    static let bitRates: [(name: String, factor: UInt64)] = [
        ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000), ("bit/s", 1),
    ]
    static let byteCounts: [(name: String, factor: UInt64)] = [
        ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1),
    ]

    /// The amount that a number, with up to three places behind the point, and a unit make; `nil`
    /// for anything else.
    static func amount(_ text: String, units: [(name: String, factor: UInt64)]) -> UInt64? {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let name = text.dropFirst(number.count).drop { $0 == " " }
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard let unit = units.first(where: { $0.name == name }), (1...2).contains(parts.count),
            let whole = UInt64(parts[0])
        else { return nil }
        let places = parts.count == 2 ? String(parts[1]) : "0"
        guard (1...3).contains(places.count), let behind = UInt64(places) else { return nil }
        let scale: UInt64 = [10, 100, 1_000][places.count - 1]
        let (product, overflow) = whole.multipliedReportingOverflow(by: unit.factor)
        let (sum, isTooMuch) = product.addingReportingOverflow(behind * unit.factor / scale)
        return overflow || isTooMuch ? nil : sum
    }

    /// The minutes of the day from one time to another, as in `22:00-07:00`; `nil` for anything
    /// else.
    static func hours(_ text: String) -> Range<Int>? {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map(minute)
        guard ends.count == 2, let from = ends[0], let to = ends[1], from != to, from < 1_440 else {
            return nil
        }
        return from < to ? from..<to : from..<to + 1_440
    }

    /// The part of the day in the words ``hours(_:)-(String)`` reads.
    static func hours(_ minutes: Range<Int>) -> String {
        let end = minutes.upperBound > 1_440 ? minutes.upperBound - 1_440 : minutes.upperBound
        return "\(clock(minutes.lowerBound))-\(clock(end))"
    }

    private static func clock(_ minute: Int) -> String {
        [minute / 60, minute % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }

    private static func minute(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.count == 2 }), let hour = Int(parts[0]),
            let minute = Int(parts[1]), (0...59).contains(minute),
            (0..<24).contains(hour) || (hour == 24 && minute == 0)
        else { return nil }
        return hour * 60 + minute
    }
}

extension IPAddress {
    /// Whether it is an address of this machine's loopback.
    var isLoopback: Bool {
        v4.map { $0 >> 24 == 127 } ?? (high == 0 && low == 1)
    }
}
