import Base
import Circuits
import ControlAPI
import Testing

@testable import ClientCore
@testable import NodeRuntime

@Suite("A client's hourly line")
struct ClientHeartbeatTests {
    private func notice(_ id: UInt64, _ change: CircuitNotice.Change) -> CircuitNotice {
        CircuitNotice(
            id: CircuitID(rawValue: id),
            tunnel: ClientCore.TunnelID(rawValue: 1),
            hops: ["a", "b", "c"],
            change: change
        )
    }

    @Test("It comes once for each hour, and not at the start")
    func isHourly() {
        let start = Instant(nanoseconds: 5_000_000_000)
        var heartbeat = ClientHeartbeat(now: start)
        var count = 0
        for second in UInt64(0)..<7_300 where heartbeat.isDue(at: start + .seconds(second)) {
            count += 1
        }
        #expect(count == 2)
    }

    @Test("It tells state, circuits, bytes, memory and tickets, and no relay")
    func line() {
        let start = Instant(nanoseconds: 0)
        var heartbeat = ClientHeartbeat(now: start)
        heartbeat.note(notice(1, .begun(.first)))
        heartbeat.note(notice(1, .ready(.milliseconds(3))))
        heartbeat.note(notice(1, .carrying(.first)))
        heartbeat.note(notice(2, .begun(.spare)))
        heartbeat.note(notice(2, .ended(reason: "hop 2 did not answer in time")))
        // What stood has been counted.
        heartbeat.note(notice(1, .ended(reason: "closed by hand")))
        heartbeat.note(notice(3, .begun(.spare)))
        let status = StatusReport(
            state: .connected,
            since: 0,
            bytesSent: 12_345_678,
            bytesReceived: 987_654_321,
            tunnels: []
        )
        let now = start + .seconds(3 * 3_600 + 5)
        let line = heartbeat.line(
            of: status,
            circuits: 2,
            residentBytes: 31 << 20,
            ticks: 640,
            now: now
        )
        #expect(
            line == "up 3 h, connected, 2 circuits for 0 tunnels, 12 MB sent, 987 MB received,"
                + " 1 circuits built and 1 not, 31 MiB of memory, 640 ticks at hand"
        )
        let unpaid = heartbeat.line(
            of: status,
            circuits: 2,
            residentBytes: 31 << 20,
            ticks: nil,
            now: now
        )
        #expect(!unpaid.contains("ticks"))
    }
}
