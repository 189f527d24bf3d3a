import Base
import EventLoop
import FoundationEssentials
import Glibc
import RelayCore

/// What all threads of a relay counted, at about one moment.
struct RelayReadings: Sendable {
    var time: Instant
    var shards: RelayLoopReport
    var control: RelayControlCounts

    /// Bytes a datagram takes on the line, with the headers of UDP and IPv4.
    private static let datagramByteCount: UInt64 = 1_420

    /// Asks all threads; `nil` where one does not take questions.
    static func take(
        shards: [Mailbox<RelayLoopMessage>],
        control: Mailbox<RelayControlMessage>
    ) async -> Self? {
        var sum: RelayLoopReport?
        for shard in shards {
            let part: RelayLoopReport? = await withCheckedContinuation { continuation in
                let once = Once(continuation)
                let isPosted = shard.post(.report { once.resume($0) })
                if !isPosted { once.resume(nil) }
            }
            guard let part else { return nil }
            if sum == nil { sum = part } else { sum?.add(part) }
        }
        let counts: RelayControlCounts? = await withCheckedContinuation { continuation in
            let once = Once(continuation)
            let isPosted = control.post(.counts { once.resume($0) })
            if !isPosted { once.resume(nil) }
        }
        guard let sum, let counts else { return nil }
        return Self(time: MonotonicClock.now(), shards: sum, control: counts)
    }

    /// Bytes sent on the line so far.
    var sentBytes: UInt64 {
        shards.counters.sentDatagrams * Self.datagramByteCount + shards.counters.exitBytes
    }

    /// Bytes received from the line so far.
    var receivedBytes: UInt64 {
        shards.counters.receivedDatagrams * Self.datagramByteCount + shards.counters.returnBytes
    }
}

/// What the kernel counts of this process.
struct ProcessReadings: Sendable {
    var residentBytes: UInt64 = 0
    var processorSeconds: Double = 0
    var openDescriptors = 0

    /// Asks the kernel.
    static func now() -> Self {
        var readings = Self()
        if let text = FileManager.default.contents(atPath: "/proc/self/statm") {
            let words = String(decoding: text, as: UTF8.self).split(separator: " ")
            let pages = words.count > 1 ? UInt64(words[1]) ?? 0 : 0
            readings.residentBytes = pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        }
        var usage = rusage()
        if unsafe getrusage(RUSAGE_SELF.rawValue, &usage) == 0 {
            readings.processorSeconds = usage.ru_utime.inSeconds + usage.ru_stime.inSeconds
        }
        readings.openDescriptors = StateFolder.names(in: "/proc/self/fd").count
        return readings
    }
}

extension timeval {
    fileprivate var inSeconds: Double { Double(tv_sec) + Double(tv_usec) / 1e6 }
}

/// The connections the kernel keeps for an exit, to translate their addresses.
enum KeptConnections {
    /// How many there are in this network; `nil` where the kernel keeps none or does not tell.
    static func count() -> UInt64? {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count"
        guard let bytes = FileManager.default.contents(atPath: path) else { return nil }
        return UInt64(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
    }
}

/// The operator's clock.
enum LocalClock {
    /// The minute of the day at `wall`, as this machine's time zone has it.
    static func minuteOfDay(_ wall: WallTime) -> Int {
        var seconds = time_t(clamping: wall.seconds)
        var parts = unsafe tm()
        guard unsafe localtime_r(&seconds, &parts) != nil else {
            return Int(wall.seconds % 86_400) / 60
        }
        return unsafe Int(parts.tm_hour) * 60 + Int(parts.tm_min)
    }

    /// The time as people and logs write it, in UTC.
    static func text(_ wall: WallTime) -> String {
        var seconds = time_t(clamping: wall.seconds)
        var parts = unsafe tm()
        guard unsafe gmtime_r(&seconds, &parts) != nil else { return "\(wall.seconds)" }
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let date = unsafe [parts.tm_year + 1_900, parts.tm_mon + 1, parts.tm_mday].map(two)
        let time = unsafe [parts.tm_hour, parts.tm_min].map(two)
        return date.joined(separator: "-") + " " + time.joined(separator: ":") + " UTC"
    }
}
