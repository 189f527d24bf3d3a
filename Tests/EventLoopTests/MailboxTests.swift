import Base
import EventLoop
import Testing

@Suite("Messages between threads", .timeLimit(.minutes(1)))
struct MailboxTests {
    @Test("a full mailbox refuses and keeps what it has, in order")
    func bound() throws {
        let mailbox = Mailbox<Int>(capacity: 3, wakeup: try Wakeup())
        #expect((0..<5).map { mailbox.post($0) } == [true, true, true, false, false])
        var messages = [99]
        mailbox.drain(into: &messages)
        #expect(messages == [0, 1, 2])
        mailbox.drain(into: &messages)
        #expect(messages.isEmpty)
        #expect(mailbox.post(7))
    }

    @Test("what must not be lost gets through a full mailbox, behind what waits")
    func insist() throws {
        let wakeup = try Wakeup()
        let mailbox = Mailbox<Int>(capacity: 4, wakeup: wakeup)
        mailbox.insist(1)
        #expect(wakeup.drain())
        #expect(mailbox.post(2, weight: 4))
        #expect(!mailbox.post(3))
        #expect(mailbox.post(4, weight: 0))
        mailbox.insist(5)
        #expect(!wakeup.drain())
        var messages: [Int] = []
        mailbox.drain(into: &messages)
        #expect(messages == [1, 2, 4, 5])
        #expect(mailbox.post(6, weight: 4))
        #expect(wakeup.drain())
    }

    @Test("only the first message after a drain wakes the reader")
    func wakesOnce() throws {
        let wakeup = try Wakeup()
        let mailbox = Mailbox<Int>(capacity: 8, wakeup: wakeup)
        #expect(!wakeup.drain())
        #expect(mailbox.post(1))
        #expect(wakeup.drain())
        #expect(mailbox.post(2))
        #expect(!wakeup.drain())
        var messages: [Int] = []
        mailbox.drain(into: &messages)
        #expect(mailbox.post(3))
        #expect(wakeup.drain())
    }

    @Test("two writers and a sleeping reader lose nothing and keep each writer's order")
    func threads() throws {
        let perWriterCount = 50_000
        let wakeup = try Wakeup()
        let mailbox = Mailbox<(writer: Int, number: Int)>(capacity: 256, wakeup: wakeup)
        let writers = try [0, 1].map { writer in
            Box(
                try LoopThread.start(name: "writer-\(writer)") {
                    var number = 0
                    while number < perWriterCount {
                        if mailbox.post((writer, number)) { number += 1 }
                    }
                }
            )
        }
        var poller = try Poller()
        try poller.add(wakeup.descriptor, token: 1)
        var next = [0, 0]
        var largest = 0
        var batch: [(writer: Int, number: Int)] = []
        while next != [perWriterCount, perWriterCount] {
            let now = MonotonicClock.now()
            let count = try poller.wait(until: now + .seconds(20), now: now)
            try #require(count == 1, "a message waits and nobody woke the reader")
            #expect(poller.event(at: 0).token == 1)
            wakeup.drain()
            mailbox.drain(into: &batch)
            largest = max(largest, batch.count)
            for message in batch {
                try #require(message.number == next[message.writer])
                next[message.writer] += 1
            }
        }
        writers.forEach { $0.join() }
        #expect(largest <= 256)
    }
}

/// A thread in an array, which takes no values that cannot be copied.
private final class Box {
    private var thread: LoopThread?

    init(_ thread: consuming LoopThread) {
        self.thread = consume thread
    }

    func join() {
        if let thread = thread.take() { thread.join() }
    }
}
