import Base
import Circuits
import ClientCore
import Directory
import DirectoryHTTP
import EventLoop
import Wire

/// Something to ask a relay of a circuit for.
struct DirectoryErrand: Sendable {
    /// The circuit and hop to ask; `nil` for any middle or exit.
    var place: (circuit: CircuitID, hop: HopIndex)?
    /// What to ask for: the parts are put together.
    var request: DirectoryRequest
    /// Told what came of it.
    var answer: @Sendable (DirectoryFetched) -> Void
}

/// What a relay answered to an errand.
enum DirectoryFetched: Sendable, Equatable {
    /// The bytes.
    case bytes([UInt8])
    /// It has no such thing, or shows something that is none.
    case refused
    /// Nobody was asked, or nothing was heard.
    case silent
}

/// Directory errands on their way over a client's circuits, one at a time with each hop.
struct DirectoryErrands: Sendable {
    private static let askAhead = 3
    private static let silenceLimit: TimeSpan = .seconds(5)
    private static let byteLimit: UInt32 = 64 << 20

    private struct Running: Sendable {
        var circuit: CircuitID
        var hop: HopIndex
        var ask: DirectoryAsk
        var errand: DirectoryErrand
        var bytes: [UInt8] = []
        var askedUpTo: UInt32 = 0
        var tag: UInt32?
        var total: UInt32?
        var heard: Instant
    }

    private var running: [Running] = []

    /// Sets out, or says at once that it cannot.
    mutating func begin(
        _ errand: DirectoryErrand,
        with control: inout ClientControl?,
        now: Instant
    ) {
        guard let ask = Self.ask(errand.request),
            let place = errand.place ?? place(for: ask, control?.circuitReports() ?? []),
            !running.contains(where: { $0.circuit == place.circuit && $0.hop == place.hop }),
            control?.ask(ask, hop: place.hop, over: place.circuit, now: now) == true
        else { return errand.answer(.silent) }
        running.append(
            Running(
                circuit: place.circuit,
                hop: place.hop,
                ask: ask,
                errand: errand,
                askedUpTo: UInt32(DirectoryPart.maximumByteCount),
                heard: now
            )
        )
    }

    private static func ask(_ request: DirectoryRequest) -> DirectoryAsk? {
        switch request {
        case .newest: return DirectoryAsk(kind: .newest, digest: .zero, offset: 0)
        case .diff(let base): return DirectoryAsk(kind: .diff, digest: base, offset: 0)
        case .document(let prefix):
            let padded = Array(prefix.prefix(16)) + [UInt8](repeating: 0, count: 32)
            return Bytes32(Array(padded.prefix(32)))
                .map { DirectoryAsk(kind: .document, digest: $0, offset: 0) }
        case .proof: return DirectoryAsk(kind: .proof, digest: .zero, offset: 0)
        case .post: return nil
        }
    }

    /// A middle or exit of a circuit that stands: the guard knows the client already.
    private func place(
        for ask: DirectoryAsk,
        _ circuits: [ClientControl.CircuitReport]
    ) -> (circuit: CircuitID, hop: HopIndex)? {
        var places: [(circuit: CircuitID, hop: HopIndex)] = []
        for circuit in circuits where circuit.stage != .building {
            for hop in [HopIndex.second, .third] where circuit.hops.count > hop.offset {
                // Older relays take the question for a violation.
                let isAble =
                    ask.kind != .proof
                    || circuit.hops[hop.offset].features & RelayFeatures.probesAndProofs != 0
                let isBusy = running.contains { $0.circuit == circuit.id && $0.hop == hop }
                if isAble, !isBusy { places.append((circuit.id, hop)) }
            }
        }
        return places.randomElement()
    }

    /// Takes a part, and asks for the next ones.
    mutating func take(
        _ part: (circuit: CircuitID, hop: HopIndex, part: DirectoryPart),
        with control: inout ClientControl?,
        now: Instant
    ) {
        guard
            let index = running.firstIndex(where: {
                $0.circuit == part.circuit && $0.hop == part.hop
            })
        else { return }
        let answer = part.part
        var errand = running[index]
        guard answer.status == .bytes, answer.total <= Self.byteLimit,
            errand.tag ?? answer.tag == answer.tag, errand.total ?? answer.total == answer.total,
            Int(answer.offset) == errand.bytes.count,
            !answer.bytes.isEmpty || answer.total == 0
        else { return end(at: index, .refused) }
        errand.tag = answer.tag
        errand.total = answer.total
        errand.bytes += answer.bytes
        errand.heard = now
        guard errand.bytes.count < answer.total else { return end(at: index, .bytes(errand.bytes)) }
        let step = UInt32(DirectoryPart.maximumByteCount)
        let ahead = UInt32(errand.bytes.count) + step * UInt32(Self.askAhead)
        while errand.askedUpTo < min(answer.total, ahead) {
            var next = errand.ask
            next.offset = errand.askedUpTo
            errand.askedUpTo += step
            guard control?.ask(next, hop: errand.hop, over: errand.circuit, now: now) == true else {
                return end(at: index, .silent)
            }
        }
        running[index] = errand
    }

    /// Gives up what nothing has been heard of.
    mutating func expire(now: Instant) {
        while let index = running.firstIndex(where: { now >= $0.heard + Self.silenceLimit }) {
            end(at: index, .silent)
        }
    }

    private mutating func end(at index: Int, _ result: DirectoryFetched) {
        running.remove(at: index).errand.answer(result)
    }
}
