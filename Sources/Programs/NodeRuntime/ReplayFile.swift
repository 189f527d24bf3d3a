import Circuits
import Logging
import RelayCore

/// The marks of CREATEs over a restart: a file that is empty while the relay runs, so that a stop
/// out of order shows at the next start.
struct ReplayFile: Sendable {
    private let path: String

    /// The file of the relay whose state is in `stateFolder`.
    init(stateFolder: String) {
        path = "\(stateFolder)/replay.state"
    }

    /// Takes what the last run left, and marks this one as running.
    ///
    /// - Throws: where the folder cannot be written: a relay that could not tell its next start
    ///   how it ended must not run.
    func take() throws -> RelayControl.ReplayMemory {
        let bytes = StateFolder.read(path)
        try StateFolder.write([], to: path)
        guard let bytes else { return .none }
        guard let filter = try? CreateFilter(parsing: bytes) else { return .lost }
        return .marks(filter)
    }

    /// Stores the marks at a stop in order.
    func store(_ marks: CreateFilter, logger: Logger) {
        do {
            try StateFolder.write(marks.encoded(), to: path)
        } catch {
            logger.warning("\(path) cannot be written: \(error)")
        }
    }
}
