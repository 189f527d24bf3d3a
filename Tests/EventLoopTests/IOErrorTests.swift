import Base
import EventLoop
import Glibc
import Testing

@Suite("Errors of the operating system as text")
struct IOErrorTests {
    @Test("operation, subject, cause and code stand in one line")
    func description() {
        let error = IOError("bind", "192.0.2.1:4433", code: EADDRINUSE)
        #expect(error.description == "bind 192.0.2.1:4433: address already in use (EADDRINUSE)")
        #expect(error.codeName == "EADDRINUSE")
        #expect(error.hint?.contains("ss -ulpn") == true)
        #expect(!error.isPrivilegeMissing)
    }

    @Test("an acronym keeps its capitals, an unknown number stays a number")
    func unusual() {
        let rfs = IOError("use", "x", code: EDOTDOT)
        #expect(rfs.description == "use x: RFS specific error (EDOTDOT)")
        #expect(IOError("use", "x", code: 9_999).description == "use x: errno 9999")
    }

    @Test("a hint given at the spot goes before the general one")
    func hint() {
        #expect(IOError("open", "x", code: EPERM).hint?.contains("CAP_NET_ADMIN") == true)
        #expect(IOError("open", "x", code: EPERM, hint: "own").hint == "own")
        #expect(IOError("open", "x", code: ENOENT).hint == nil)
        #expect(IOError("open", "x", code: EACCES).isPrivilegeMissing)
    }
}

@Suite("Clocks")
struct ClockTests {
    @Test("the monotonic clock never goes back and is no civil clock")
    func monotonic() {
        var last = MonotonicClock.now()
        for _ in 0..<10_000 {
            let now = MonotonicClock.now()
            #expect(now >= last)
            last = now
        }
    }

    @Test("the civil clock agrees with the C library in all its units")
    func wall() {
        let before = UInt64(time(nil))
        let seconds = WallClock.now().seconds
        let microseconds = WallClock.microsecondsSince1970()
        let nanoseconds = WallClock.nanosecondsSince1970()
        let after = UInt64(time(nil))
        #expect((before...(after + 1)).contains(seconds))
        #expect((before...(after + 1)).contains(microseconds / 1_000_000))
        #expect(nanoseconds / 1_000 >= microseconds)
    }
}
