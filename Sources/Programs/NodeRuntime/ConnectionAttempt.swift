import Base
import ClientCore
import ControlAPI
import EventLoop

/// How an attempt to connect came along: how far at its best, and since when it has stood there.
///
/// Tries that fail and begin again do not lead back: what matters to whoever waits is whether it
/// comes further, and why not.
struct ConnectionAttempt: Sendable {
    /// Stages of the attempt as people are told of them.
    enum Step: Int, Comparable, Sendable {
        case offline = 5
        case directory = 20
        case link = 45
        case keys = 60
        case circuit = 70
        case addresses = 90

        static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }

        /// The step of a tunnel's stage.
        init(_ stage: ConnectionStage?) {
            self =
                switch stage {
                case .offline: .offline
                case .link, nil: .link
                case .keys: .keys
                case .circuit: .circuit
                case .addresses, .done: .addresses
                }
        }

        /// Its name in reports.
        var name: String {
            switch self {
            case .offline: "network"
            case .directory: "directory"
            case .link: "conn"
            case .keys: "keys"
            case .circuit: "circuit"
            case .addresses: "addresses"
            }
        }

        /// What is being done, in a few words.
        var detail: String {
            switch self {
            case .offline: "waiting for a network"
            case .directory: "fetching the list of relays"
            case .link: "opening a link to the guard"
            case .keys: "making the circuit's keys"
            case .circuit: "building a circuit over three relays"
            case .addresses: "asking the exit for addresses"
            }
        }
    }

    private let began: Instant
    private var furthest: Step
    private var since: Instant

    /// Begins at `step`.
    init(at step: Step, now: Instant) {
        began = now
        since = now
        furthest = step
    }

    /// Notes where it stands now; says whether it came further.
    mutating func note(_ step: Step, now: Instant) -> Bool {
        guard step > furthest else { return false }
        furthest = step
        since = now
        return true
    }

    /// How far it has come, at `now`.
    func progress(now: Instant) -> StatusReport.Progress {
        StatusReport.Progress(
            percent: furthest.rawValue,
            stage: furthest.name,
            detail: furthest.detail,
            elapsed: (now - began).nanoseconds / 1_000_000,
            unchanged: (now - since).nanoseconds / 1_000_000
        )
    }
}
