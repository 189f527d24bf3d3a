import Base
import Glibc
import Testing

@testable import EventLoop

@Suite("Waiting for descriptors and deadlines", .timeLimit(.minutes(1)))
struct PollerTests {
    @Test("a deadline is never early, and near", arguments: [true, false])
    func deadline(isPrecise: Bool) throws {
        var poller = try Poller()
        if !isPrecise { poller.useMilliseconds() }
        var lateness: [TimeSpan] = []
        for microseconds in stride(from: UInt64(100), to: 5_000, by: 100) {
            let now = MonotonicClock.now()
            let deadline = now + .microseconds(microseconds)
            #expect(try poller.wait(until: deadline, now: now) == 0)
            let after = MonotonicClock.now()
            #expect(after >= deadline)
            lateness.append(after - deadline)
        }
        let median = lateness.sorted()[lateness.count / 2]
        #expect(median < (isPrecise ? .microseconds(900) : .microseconds(2_500)))
    }

    @Test("a deadline in the past only looks")
    func past() throws {
        var poller = try Poller()
        let now = MonotonicClock.now()
        #expect(try poller.wait(until: .zero, now: now) == 0)
        #expect(MonotonicClock.now() - now < .seconds(1))
    }

    @Test("another thread's signal ends a wait without deadline")
    func wakeup() throws {
        let wakeup = try Wakeup()
        var poller = try Poller()
        try poller.add(wakeup.descriptor, token: 42)
        let thread = try LoopThread.start(name: "signaller") { wakeup.signal() }
        #expect(try poller.wait(until: nil, now: MonotonicClock.now()) == 1)
        let event = poller.event(at: 0)
        #expect(event == PollEvent(token: 42, isReadable: true, isWritable: false, isClosed: false))
        thread.join()
        // Level-triggered: the same again until it is drained.
        #expect(try poller.wait(until: .zero, now: .zero) == 1)
        #expect(wakeup.drain())
        #expect(try poller.wait(until: .zero, now: .zero) == 0)
    }

    @Test("a pipe is watched for what was asked, and no longer once removed")
    func pipe() throws {
        var ends: [CInt] = [0, 0]
        try #require(Glibc.pipe(&ends) == 0)
        let reader = OwnedDescriptor(owning: ends[0])
        var writer: OwnedDescriptor? = OwnedDescriptor(owning: ends[1])
        var poller = try Poller()
        try poller.add(ends[1], token: 7, readable: false, writable: true)
        #expect(try poller.wait(until: .zero, now: .zero) == 1)
        #expect(poller.event(at: 0).isWritable)
        try poller.modify(ends[1], token: 7, readable: false, writable: false)
        #expect(try poller.wait(until: .zero, now: .zero) == 0)
        try poller.remove(ends[1])
        try poller.add(reader.number, token: 8)
        writer = nil
        _ = writer
        #expect(try poller.wait(until: .zero, now: .zero) == 1)
        #expect(poller.event(at: 0).token == 8)
        #expect(poller.event(at: 0).isClosed)
    }

    @Test("watching twice, and removing what is not watched, are errors that say so")
    func misuse() throws {
        let wakeup = try Wakeup()
        let fd = wakeup.descriptor
        var poller = try Poller()
        try poller.add(fd, token: 1)
        do {
            try poller.add(fd, token: 2)
            Issue.record("a second watch was taken")
        } catch {
            #expect(error.code == EEXIST)
            #expect(error.description == "watch descriptor \(fd): file exists (EEXIST)")
        }
        try poller.remove(fd)
        do {
            try poller.remove(fd)
            Issue.record("removed twice")
        } catch {
            #expect(error.code == ENOENT)
        }
    }
}
