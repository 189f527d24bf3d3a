import Base
import Circuits
import CryptoPrimitives
import Paths
import Wire

extension ClientControl {
    mutating func say(
        _ message: ControlMessage,
        to hop: HopIndex,
        over id: CircuitID,
        now: Instant
    ) {
        payTraffic.note(message)
        do throws(ControlChannel.SendError) {
            try circuits[id]?.channels[hop.offset].send(message)
        } catch {
            return fail(id, culprit: nil, reason: "a hop answers nothing", now: now)
        }
        pump(id, now: now)
    }

    mutating func pump(_ id: CircuitID, now: Instant) {
        for hop in HopIndex.all {
            while let record = circuits[id]?.channels[hop.offset].nextRecord(now: now) {
                commands.append(.sendControl(id, hop, record))
            }
            if circuits[id]?.channels[hop.offset].hasFailed == true {
                let reason = "hop \(hop.rawValue) answers nothing"
                return fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
            }
        }
    }

    mutating func receiveControl(
        _ id: CircuitID,
        hop: HopIndex,
        _ bytes: [UInt8],
        now: Instant
    ) {
        guard circuits[id] != nil else { return }
        circuits[id]?.isProbed = false
        let violation = "hop \(hop.rawValue) broke the protocol"
        do throws(WireError) {
            let record = try ControlRecord(parsing: bytes)
            let messages =
                try circuits[id]?.channels[hop.offset].receive(record, now: now) ?? []
            for message in messages {
                let content = try ControlMessage(
                    type: message.type,
                    parsing: message.bytes,
                    fromClient: false
                )
                handle(content, from: hop, of: id, now: now)
            }
        } catch {
            return fail(id, culprit: Self.position(of: hop), reason: violation, now: now)
        }
        pump(id, now: now)
    }

    private mutating func handle(
        _ message: ControlMessage,
        from hop: HopIndex,
        of id: CircuitID,
        now: Instant
    ) {
        payTraffic.note(message)
        switch message {
        case .extended(let result):
            if case .created = result { noteExtend(id, hop: hop, isAnswered: true) }
            step(id, now: now) { build throws(CircuitBuild.Failure) in
                try build.receive(result, from: hop)
            }
        case .tunnelOpened(let answer) where hop == .third:
            noteTrip(over: id, since: circuits[id]?.openingSince, now: now)
            receiveOpened(answer, over: id, now: now)
        case .echo(true, let nonce):
            guard !receiveLoop(nonce, of: id, now: now) else { return }
            guard let ping = pings[nonce], ping.circuit == id, ping.hop == hop else { return }
            pings[nonce] = nil
            circuits[id]?.roundTrips[hop.offset] = now - ping.sent
            if hop == .third { noteTrip(over: id, since: ping.sent, now: now) }
            notices.append(.pong(token: ping.token, hop, now - ping.sent))
            endSurvey(id, now: now)
        case .directoryPart(let part):
            notices.append(.directoryPart(id, hop, part))
        case .mintAnswer(let part):
            notices.append(.mintAnswer(id, hop, part))
        case .close:
            fail(id, culprit: nil, reason: "hop \(hop.rawValue) closed the circuit", now: now)
        case .payResult(let result):
            cashier.receive(result, from: hop, of: id, now: now, wall: wall)
        case .report(let report):
            circuits[id]?.statements[hop.offset] = HopStatement(report: report, heard: now)
            notices.append(.reported(id, hop, report))
            cashier.receive(report, from: hop, of: id, now: now, wall: wall)
        case .extend, .openTunnel, .tunnelOpened, .echo, .directoryAsk, .payOpen, .payTick,
            .payAttach, .reportAsk, .payPass, .mintAsk:
            let reason = "hop \(hop.rawValue) broke the protocol"
            fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
        }
    }

    /// Notes how long a circuit's exit took to answer; a quarter of what was known gives way.
    private mutating func noteTrip(over id: CircuitID, since sent: Instant?, now: Instant) {
        guard let sent else { return }
        noteTrip(now - sent, over: id)
    }

    /// Notes one round trip to a circuit's exit.
    mutating func noteTrip(_ trip: TimeSpan, over id: CircuitID) {
        guard let exit = circuits[id]?.path.exit.id else { return }
        guard let known = exitTrips[exit] else {
            if exitTrips.count < Self.exitTripLimit { exitTrips[exit] = trip }
            return
        }
        exitTrips[exit] = TimeSpan(nanoseconds: (known.nanoseconds * 3 + trip.nanoseconds) / 4)
    }

    static let exitTripLimit = 1_024
    static let asksWaitingLimit = 8

    mutating func receiveSilence(_ id: CircuitID, _ silence: TimeSpan, now: Instant) {
        guard let circuit = circuits[id],
            circuit.stage == .ready || circuit.stage == .active || circuit.stage == .opening
        else { return }
        guard silence < Self.silenceLimit else {
            return fail(id, culprit: .middle, reason: "nothing comes back", now: now)
        }
        guard !circuit.isProbed else { return }
        circuits[id]?.isProbed = true
        say(.echo(isAnswer: false, nonce: random.next()), to: .third, over: id, now: now)
    }
}
