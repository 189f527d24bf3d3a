public import Base
public import Circuits
public import Links
public import Onion
public import Tickets
public import Wire

/// Key work of a relay: leaves the control plane, runs anywhere, comes back as ``Outcome``.
public enum RelayJob: Sendable {
    /// What an answered link handshake was asked by.
    public enum LinkRequest: Sendable {
        /// An initiation from this address.
        case initiation(LinkInitiation, SocketAddress)
        /// A rekey inside this link, whose initiator receives under this session.
        case rekey(LinkID, SessionID)
    }

    /// Work of a link this relay opens.
    case dialer(LinkDialer.Job)
    /// Answer a link handshake.
    case respond(LinkRequest, ResponseWork)
    /// Answer a CREATE.
    case create(LinkID, CircuitNumber, UInt64, CreateWork)
    /// Verify a voucher shown over a circuit.
    case verify(CircuitID, VoucherCheck)

    /// What a job came to.
    public enum Outcome: Sendable {
        /// Of ``RelayJob/dialer(_:)``.
        case dialer(LinkDialer.JobResult)
        /// Of ``RelayJob/respond(_:_:)``.
        case responded(LinkRequest, Result<ResponseWork.Result, HandshakeError>)
        /// Of ``RelayJob/create(_:_:_:_:)``.
        case created(
            RelayControl.RouteKey,
            mark: UInt64,
            Result<CreateWork.Result, HandshakeError>
        )
        /// Of ``RelayJob/verify(_:_:)``.
        case verified(CircuitID, VoucherCheck, isValid: Bool)
    }

    /// Does the work; tens to hundreds of microseconds.
    public func run() -> Outcome {
        switch self {
        case .dialer(let job):
            return .dialer(job.run())
        case .respond(let request, let work):
            do throws(HandshakeError) {
                return .responded(request, .success(try work.run()))
            } catch {
                return .responded(request, .failure(error))
            }
        case .create(let link, let number, let mark, let work):
            let key = RelayControl.RouteKey(link: link, number: number)
            do throws(HandshakeError) {
                return .created(key, mark: mark, .success(try work.run()))
            } catch {
                return .created(key, mark: mark, .failure(error))
            }
        case .verify(let id, let check):
            do throws(VoucherFault) {
                try check.run()
                return .verified(id, check, isValid: true)
            } catch {
                return .verified(id, check, isValid: false)
            }
        }
    }
}
