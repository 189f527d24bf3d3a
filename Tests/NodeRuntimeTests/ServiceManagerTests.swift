import ControlAPI
import Foundation
import NamespaceSupport
import Synchronization
import TestSupport
import Testing

@testable import NodeRuntime

@Suite("The service manager is told", .timeLimit(.minutes(1)))
struct ServiceManagerTests {
    @Test("what sd_notify(3) says, at a file or a name of the kernel's", arguments: [false, true])
    func messages(isAbstract: Bool) throws {
        let socket = try ServiceManagerSocket(isAbstract: isAbstract)
        let manager = try #require(
            ServiceManager(environment: ["NOTIFY_SOCKET": socket.path], pid: 1)
        )
        manager.send("READY=1")
        #expect(socket.next() == "READY=1")
        manager.say("connecting 45%\nsecond line")
        #expect(socket.next() == "STATUS=connecting 45% second line")
        manager.sendReloading()
        let reloading = try #require(socket.next())
        #expect(reloading.wholeMatch(of: /RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*/) != nil)
        #expect(manager.watchdog == nil)
    }

    @Test("nothing, where there is none or its socket is none")
    func nobody() {
        for name in [nil, "", "relative/path", String(repeating: "/x", count: 60)] {
            let environment = name.map { ["NOTIFY_SOCKET": $0] } ?? [:]
            #expect(ServiceManager(environment: environment, pid: 1) == nil)
        }
        // One that went away is no matter.
        ServiceManager(environment: ["NOTIFY_SOCKET": "/nonexistent/notify"], pid: 1)?
            .send("READY=1")
    }

    @Test("the watchdog is for the process it names")
    func watchdogOwner() {
        var environment = ["NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000"]
        #expect(ServiceManager(environment: environment, pid: 5)?.watchdog == .seconds(60))
        environment["WATCHDOG_PID"] = "5"
        #expect(ServiceManager(environment: environment, pid: 5)?.watchdog == .seconds(60))
        #expect(ServiceManager(environment: environment, pid: 6)?.watchdog == nil)
        environment["WATCHDOG_USEC"] = "soon"
        #expect(ServiceManager(environment: environment, pid: 5)?.watchdog == nil)
    }

    @Test("that all is well as long as that is so, and no longer")
    func watchdog() async throws {
        let socket = try ServiceManagerSocket()
        let manager = try #require(
            ServiceManager(
                environment: ["NOTIFY_SOCKET": socket.path, "WATCHDOG_USEC": "20000"],
                pid: 1
            )
        )
        let (proofs, prove) = AsyncStream.makeStream(of: Void.self)
        let feeding = Task {
            await manager.keepFed { for await _ in proofs { return } }
        }
        for _ in 0..<3 {
            prove.yield()
            let said = await onOwnThread { socket.next() }
            #expect(said == "WATCHDOG=1")
        }
        // Whoever hangs is not well.
        let later = await onOwnThread { socket.next(milliseconds: 200) }
        #expect(later == nil)
        feeding.cancel()
        await feeding.value
    }
}

@Suite("Events are kept, and told")
struct EventRingTests {
    @Test("the last ones, oldest first, with numbers that show what was forgotten")
    func bounded() {
        let ring = EventRing(capacity: 3)
        #expect(ring.events.isEmpty)
        for number in 1...5 { ring.note(level: "info", text: "\(number)") }
        #expect(ring.events.map(\.text) == ["3", "4", "5"])
        #expect(ring.events.map(\.number) == [3, 4, 5])
    }

    @Test("whoever listens hears those of before and those to come, each once")
    func updates() async {
        let ring = EventRing(capacity: 2)
        for number in 1...3 { ring.note(level: "info", text: "\(number)") }
        var heard = ring.updates().makeAsyncIterator()
        ring.note(level: "error", text: "4")
        var texts: [String] = []
        for _ in 0..<3 { await texts.append(heard.next()?.text ?? "-") }
        #expect(texts == ["2", "3", "4"])
        #expect(ring.events.map(\.number) == [3, 4], "listeners take no numbers")
    }

    @Test("a listener hears only what is to come, and nothing once it is forgotten")
    func listening() {
        let ring = EventRing(capacity: 2)
        let heard = Mutex<[EventReport]>([])
        ring.note(level: "info", text: "before")
        let key = ring.listen { event in heard.withLock { $0.append(event) } }
        ring.note(level: "info", kind: .ended, circuit: 7, hops: ["a", "b", "c"], text: "gone")
        ring.forget(key)
        ring.note(level: "info", text: "after")
        let events = heard.withLock(\.self)
        #expect(events.map(\.text) == ["gone"])
        #expect(events.first?.kind == .ended)
        #expect(events.first?.circuit == 7)
        #expect(events.first?.hops == ["a", "b", "c"])
    }
}
