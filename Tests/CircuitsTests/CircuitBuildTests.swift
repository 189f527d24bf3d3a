import Base
import Circuits
import CryptoPrimitives
import Onion
import TestSupport
import Testing
import Wire

/// Three relays and a client that builds through them; messages are handed over without cells.
private final class Builder {
    let relays: [CreateBench]
    let handshakes: [ClientHandshake]
    private(set) var build: CircuitBuild
    var policies = [CreatePolicy](repeating: CreateBench.policy(), count: 3)
    var actions: [CircuitBuild.Action] = []

    static let start = Instant.zero + .seconds(5)

    init(_ method: BuildMethod, minute: UInt32 = 100) throws {
        var random = RandomGenerator(testSeed: 1)
        relays = try (0..<3).map { try CreateBench($0) }
        let targets = relays.map(\.hopTarget)
        handshakes = try BuildWork(targets: targets, minute: minute, random: &random).run()
        build = CircuitBuild(
            targets: targets,
            handshakes: handshakes,
            method: method,
            now: Self.start
        )
        actions = build.start(now: Self.start)
    }

    /// What the relay at `index` answers to the client's message for it.
    func created(_ index: Int) throws -> [UInt8] {
        let body = try CreateBody(parsing: handshakes[index].body.encoded)
        return try relays[index].work(body, policy: policies[index]).run().answer.encoded
    }

    func receive(created body: [UInt8]) throws {
        actions += try build.receive(created: body)
    }

    func receive(_ result: ControlMessage.ExtendResult, from hop: HopIndex) throws {
        actions += try build.receive(result, from: hop)
    }

    /// Hands over the answer of the relay at `index` in the way it travels.
    func answer(_ index: Int, with body: [UInt8]? = nil) throws {
        let body = try body ?? created(index)
        if index == 0 {
            try receive(created: body)
        } else {
            try receive(.created(body), from: HopIndex.all[index - 1])
        }
    }

    /// Runs the key work there is.
    func work() throws {
        let works = actions.compactMap { action -> FinishWork? in
            if case .finish(let work) = action { work } else { nil }
        }
        actions.removeAll { if case .finish = $0 { true } else { false } }
        for work in works {
            let result: Result<FinishWork.Result, HandshakeError>
            do throws(HandshakeError) {
                result = .success(try work.run())
            } catch {
                result = .failure(error)
            }
            actions += try build.finished(result, hop: work.hop)
        }
    }

    func advance(to now: Instant) throws -> [CircuitBuild.Action] {
        try build.advance(to: now)
    }

    /// The actions since the last look, as text.
    func look() -> [String] {
        defer { actions = [] }
        return actions.map { action in
            switch action {
            case .sendCreate(let body): "create \(body == handshakes[0].body.encoded)"
            case .setEarly(_, let hop): "early \(hop.rawValue)"
            case .setKeys(_, let hop): "keys \(hop.rawValue)"
            case .send(.extend(let next, let body), let hop):
                "extend \(hop.rawValue) "
                    + "\(relays.firstIndex { $0.relay == next } ?? -1) "
                    + "\(handshakes.firstIndex { $0.body.encoded == body } ?? -1)"
            case .send(_, let hop): "other \(hop.rawValue)"
            case .sayAgain(let hop): "again \(hop.rawValue)"
            case .finish(let work): "finish \(work.hop.rawValue)"
            }
        }
    }
}

@Suite("Building a circuit")
struct CircuitBuildTests {
    @Test("pipelined: everything leaves at once, and the answers come in any order")
    func pipelined() throws {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
        for order in orders {
            let builder = try Builder(.pipelined)
            #expect(
                builder.look()
                    == ["create true", "early 1", "early 2", "extend 1 1 1", "extend 2 2 2"]
            )
            for index in order {
                #expect(!builder.build.isComplete)
                try builder.answer(index)
                #expect(builder.actions.count == 1)
                try builder.work()
                #expect(builder.look() == ["keys \(index + 1)"])
            }
            #expect(builder.build.isComplete)
            #expect(builder.build.nextDeadline == .distantFuture)
        }
    }

    @Test("telescoped: each extension leaves once the hop before it proved itself")
    func telescoped() throws {
        let builder = try Builder(.telescoped, minute: 0)
        #expect(builder.look() == ["create true"])
        for index in 0..<3 {
            try builder.answer(index)
            try builder.work()
            let extend = index < 2 ? ["extend \(index + 1) \(index + 1) \(index + 1)"] : []
            #expect(builder.look() == ["keys \(index + 1)"] + extend)
        }
        #expect(builder.build.isComplete)
    }

    @Test("an answer that comes twice counts once")
    func repeated() throws {
        let builder = try Builder(.pipelined)
        _ = builder.look()
        for index in 0..<3 {
            for _ in 0..<3 { try builder.answer(index) }
            #expect(builder.actions.count == 1)
            try builder.work()
            try builder.answer(index)
            #expect(builder.look() == ["keys \(index + 1)"])
        }
        #expect(builder.build.isComplete)
    }

    @Test("a hop whose answer is forged, or another's, ends the build and is named")
    func forged() throws {
        for index in 0..<3 {
            for bit in [0, 255, 256, 895] {
                let builder = try Builder(.pipelined)
                let answer = try builder.created(index)
                try builder.answer(index, with: answer.flipping(bit: bit))
                #expect(throws: CircuitBuild.Failure.notAuthentic(HopIndex.all[index])) {
                    try builder.work()
                }
            }
            let builder = try Builder(.pipelined)
            let other = try builder.created((index + 1) % 3)
            try builder.answer(index, with: other)
            #expect(throws: CircuitBuild.Failure.notAuthentic(HopIndex.all[index])) {
                try builder.work()
            }
        }
    }

    @Test("row 22: an extension answered by a hop that was asked for none breaks the rules")
    func wrongHop() throws {
        let builder = try Builder(.pipelined)
        let answer = try builder.created(2)
        #expect(throws: CircuitBuild.Failure.violation(.third)) {
            try builder.receive(.created(answer), from: .third)
        }
        #expect(throws: CircuitBuild.Failure.violation(.third)) {
            try builder.receive(.failed(.busy), from: .third)
        }
        #expect(throws: CircuitBuild.Failure.violation(.first)) {
            try builder.receive(created: Array(answer.dropLast()))
        }
    }

    @Test("a hop that cannot reach the next one says why")
    func failed() throws {
        let failures: [ControlMessage.ExtendFailure] = [
            .unknownRelay, .refused, .unreachable, .busy,
        ]
        for failure in failures {
            for hop in [HopIndex.first, .second] {
                let builder = try Builder(.pipelined)
                #expect(throws: CircuitBuild.Failure.extendFailed(hop, failure)) {
                    try builder.receive(.failed(failure), from: hop)
                }
            }
        }
    }

    @Test("where early data was refused, what was lost by it is said again under the main key")
    func earlyRefused() throws {
        for refusing in 0..<3 {
            let builder = try Builder(.pipelined)
            _ = builder.look()
            builder.policies[refusing] = CreateBench.policy(minute: 500)
            var seen: [[String]] = []
            for index in 0..<3 {
                try builder.answer(index)
                try builder.work()
                seen.append(builder.look())
            }
            var expected = [["keys 1"], ["keys 2"], ["keys 3"]]
            // What was for the second hop went through the first.
            if refusing == 0 { expected[0] += ["again 1", "again 2"] }
            if refusing == 1 { expected[1] += ["again 2"] }
            #expect(seen == expected)
            #expect(builder.build.isComplete)
        }
    }

    @Test("CREATE is repeated five times, further apart each time, then the guard is silent")
    func guardSilent() throws {
        let builder = try Builder(.pipelined)
        _ = builder.look()
        var times: [UInt64] = [0]
        while times.count < 5 {
            let deadline = builder.build.nextDeadline
            let early = Instant(nanoseconds: deadline.nanoseconds - 1)
            #expect(try builder.advance(to: early).isEmpty)
            builder.actions = try builder.advance(to: deadline)
            #expect(builder.look() == ["create true"])
            times.append((deadline - Builder.start).nanoseconds / 1_000_000)
        }
        #expect(times == [0, 300, 750, 1425, 2437])
        #expect(throws: CircuitBuild.Failure.guardSilent) {
            try builder.advance(to: builder.build.nextDeadline)
        }
        // Once it answered, nothing is repeated.
        let answered = try Builder(.pipelined)
        try answered.answer(0)
        #expect(try answered.advance(to: Builder.start + .milliseconds(9_999)).isEmpty)
        // But hops that answer nothing for ten seconds end the build.
        #expect(answered.build.nextDeadline == Builder.start + .seconds(10))
        #expect(throws: CircuitBuild.Failure.tooSlow(.second)) {
            try answered.advance(to: answered.build.nextDeadline)
        }
    }

    @Test("each hop gets a key and a message of its own, with its place in it")
    func independent() throws {
        let builder = try Builder(.pipelined)
        let bodies = builder.handshakes.map(\.body)
        #expect(Set(bodies.map(\.publicKey)).count == 3)
        #expect(Set(bodies.map(\.ciphertext)).count == 3)
        for index in 0..<3 {
            let result = try builder.relays[index].work(bodies[index]).run()
            #expect(result.message.hop == UInt8(index + 1))
            #expect(result.message.minute == 100)
        }
    }
}
