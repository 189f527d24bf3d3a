import Base
import Circuits
import Testing
import Wire

@testable import RelayCore

@Suite("Requests to mints on their way through a relay")
struct MintForwardingTests {
    private let start = Instant(nanoseconds: 1_000_000_000)
    private let circuit = CircuitID(rawValue: 7)

    private func parts(_ id: UInt16, _ count: Int, mint: UInt8 = 2) -> [MintAsk] {
        MintAsk.parts(id: id, mint: mint, of: (0..<count).map { UInt8(truncatingIfNeeded: $0) })
    }

    @Test("parts become the request they were cut from")
    func whole() {
        var forwarding = MintForwarding(now: start)
        let parts = parts(1, 9_000)
        #expect(parts.count == 3)
        for part in parts.dropLast() {
            #expect(forwarding.take(part, from: circuit, now: start) == .taken)
        }
        #expect(forwarding.next() == nil)
        #expect(forwarding.take(parts[2], from: circuit, now: start) == .whole)
        let request = forwarding.next()
        #expect(request?.mint == 2)
        #expect(request?.bytes == (0..<9_000).map { UInt8(truncatingIfNeeded: $0) })
        #expect(forwarding.next() == nil)
        #expect(request.flatMap { forwarding.finish($0.token) }?.circuit == circuit)
        #expect(request.flatMap { forwarding.finish($0.token) } == nil)
    }

    @Test("a circuit has four requests under way; a new number forgets what was not whole")
    func fourUnderWay() {
        var forwarding = MintForwarding(now: start)
        #expect(forwarding.take(parts(1, 9_000)[0], from: circuit, now: start) == .taken)
        for id in 2...5 as ClosedRange<UInt16> {
            #expect(forwarding.take(parts(id, 10)[0], from: circuit, now: start) == .whole)
        }
        #expect(forwarding.take(parts(6, 10)[0], from: circuit, now: start) == .busy)
        let other = CircuitID(rawValue: 8)
        #expect(forwarding.take(parts(3, 10)[0], from: other, now: start) == .whole)
        let first = forwarding.next()
        #expect(first?.bytes.count == 10)
        // The circuit goes: its answer has nowhere to go.
        forwarding.forget(circuit)
        #expect(first.flatMap { forwarding.finish($0.token) } == nil)
        #expect(forwarding.take(parts(4, 10)[0], from: circuit, now: start) == .whole)
    }

    @Test("parts out of their place are dropped, and the request with them")
    func outOfPlace() {
        var forwarding = MintForwarding(now: start)
        let parts = parts(1, 9_000)
        #expect(forwarding.take(parts[0], from: circuit, now: start) == .taken)
        #expect(forwarding.take(parts[2], from: circuit, now: start) == .taken)
        #expect(forwarding.take(parts[2], from: circuit, now: start) == .taken)
        #expect(forwarding.next() == nil)
    }

    @Test("no more are under way, and no more begin in a second, than the bounds say")
    func bounds() {
        var forwarding = MintForwarding(now: start)
        var counts: [MintForwarding.Outcome: Int] = [:]
        for number in 0..<200 {
            let id = CircuitID(rawValue: UInt64(100 + number))
            counts[forwarding.take(parts(1, 10)[0], from: id, now: start), default: 0] += 1
        }
        #expect(counts[.whole] == MintForwarding.limit)
        var requests: [RelayControl.MintRequest] = []
        while let request = forwarding.next() { requests.append(request) }
        for request in requests { _ = forwarding.finish(request.token) }
        counts = [:]
        for number in 0..<200 {
            let id = CircuitID(rawValue: UInt64(1_000 + number))
            let outcome = forwarding.take(parts(1, 10)[0], from: id, now: start)
            counts[outcome, default: 0] += 1
            while let request = forwarding.next() { _ = forwarding.finish(request.token) }
        }
        // What the first lot left of the burst.
        #expect(counts[.whole] == Int(MintForwarding.burst) - MintForwarding.limit)
        // Half-finished requests of others do not grow without bound either.
        counts = [:]
        for number in 0..<300 {
            let id = CircuitID(rawValue: UInt64(5_000 + number))
            let outcome = forwarding.take(parts(1, 9_000)[0], from: id, now: start)
            counts[outcome, default: 0] += 1
        }
        #expect(counts[.taken] == MintForwarding.limit)
        let later = start + .seconds(60)
        let first = CircuitID(rawValue: 5_000)
        #expect(forwarding.take(parts(9, 10)[0], from: first, now: later) == .whole)
    }
}
