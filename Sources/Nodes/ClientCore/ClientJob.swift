public import Circuits
public import Links
public import Onion
public import Tickets

/// Key work of a client: leaves the control plane, runs anywhere, comes back as ``Outcome``.
public enum ClientJob: Sendable {
    /// Work of a link the client opens.
    case dialer(LinkDialer.Job)
    /// Make the first messages of a circuit.
    case build(CircuitID, BuildWork)
    /// Take a hop's answer.
    case finish(CircuitID, FinishWork)
    /// Work of the wallet.
    case wallet(WalletWork)

    /// What a job came to.
    public enum Outcome: Sendable {
        /// Of ``ClientJob/dialer(_:)``.
        case dialer(LinkDialer.JobResult)
        /// Of ``ClientJob/build(_:_:)``.
        case built(CircuitID, Result<[ClientHandshake], HandshakeError>)
        /// Of ``ClientJob/finish(_:_:)``.
        case finished(CircuitID, FinishWork, Result<FinishWork.Result, HandshakeError>)
        /// Of ``ClientJob/wallet(_:)``.
        case wallet(WalletWork.Outcome)
    }

    /// Does the work; tens to hundreds of microseconds.
    public func run() -> Outcome {
        switch self {
        case .dialer(let job):
            return .dialer(job.run())
        case .build(let id, let work):
            do throws(HandshakeError) {
                return .built(id, .success(try work.run()))
            } catch {
                return .built(id, .failure(error))
            }
        case .finish(let id, let work):
            do throws(HandshakeError) {
                return .finished(id, work, .success(try work.run()))
            } catch {
                return .finished(id, work, .failure(error))
            }
        case .wallet(let work):
            return .wallet(work.run())
        }
    }
}
