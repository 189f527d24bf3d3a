public import Base
import Glibc

/// The machine's monotonic clock.
public enum MonotonicClock {
    /// The time since the machine started, the time it was suspended included.
    ///
    /// That makes sessions of a machine that slept as old as its peers see them. 20 to 40 ns.
    public static func now() -> Instant {
        Instant(nanoseconds: nanoseconds(of: CLOCK_BOOTTIME))
    }
}

/// The machine's civil clock, which may jump.
public enum WallClock {
    /// The time in whole seconds.
    public static func now() -> WallTime {
        WallTime(seconds: nanosecondsSince1970() / 1_000_000_000)
    }

    /// The time in nanoseconds since 1970-01-01 UTC.
    public static func nanosecondsSince1970() -> UInt64 {
        nanoseconds(of: CLOCK_REALTIME)
    }

    /// The time in whole microseconds since 1970-01-01 UTC.
    public static func microsecondsSince1970() -> UInt64 {
        nanosecondsSince1970() / 1_000
    }
}

/// The time the machine has slept since it was started, which ``MonotonicClock`` leaves out.
public enum SleepClock {
    /// The whole of it, in nanoseconds; only differences mean anything, and those of more than some
    /// milliseconds.
    public static func nanosecondsAsleep() -> UInt64 {
        let awake = nanoseconds(of: CLOCK_MONOTONIC)
        let all = nanoseconds(of: CLOCK_BOOTTIME)
        return all > awake ? all - awake : 0
    }
}

/// Reads `clock`; a time before its origin counts as the origin.
private func nanoseconds(of clock: clockid_t) -> UInt64 {
    var time = timespec()
    let result = unsafe clock_gettime(clock, &time)
    precondition(result == 0, "Linux has this clock")
    let seconds = UInt64(clamping: time.tv_sec)
    return seconds &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
}
