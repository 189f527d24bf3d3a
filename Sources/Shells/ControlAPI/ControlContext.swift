import Hummingbird
import Logging
import NIOCore

/// What is known of a request besides its text: above all, who sends it.
struct ControlContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// Who sends it; set before any route runs.
    var peer: PeerCredentials?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}

/// Lets only those reach a route who may give orders.
struct PeerCheck: RouterMiddleware {
    /// The group whose members are admitted; `nil` for none.
    let group: UInt32?

    func handle(
        _ request: Request,
        context: ControlContext,
        next: @concurrent (Request, ControlContext) async throws -> Response
    ) async throws -> Response {
        guard let peer = try await PeerCredentials.ofPeer(on: context.channel),
            peer.isAdmitted(group: group)
        else {
            context.logger.warning("refused a peer that may not give orders")
            throw Failure(
                "this user may not give orders to the node",
                why: "the control socket serves root, the node's user and the socket's group",
                hint: "run it with sudo, or join the group of the socket and log in again",
                exit: .permission
            )
        }
        var context = context
        context.peer = peer
        return try await next(request, context)
    }
}

/// Turns whatever a route throws into a ``Failure`` the command line can show.
struct FailureAnswer: RouterMiddleware {
    func handle(
        _ request: Request,
        context: ControlContext,
        next: @concurrent (Request, ControlContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let failure as Failure {
            return try answer(failure)
        } catch is DecodingError {
            return try answer(
                Failure(
                    "the node did not understand the request",
                    why: "\(request.method) \(request.uri.path) came with a body it cannot read",
                    hint: "use the `umbel` of the version the node runs",
                    exit: .usage
                )
            )
        } catch let error as any HTTPResponseError {
            return try answer(
                Failure(
                    "the node did not accept the request",
                    why: "\(request.method) \(request.uri.path): \(error.status)",
                    hint: "use the `umbel` of the version the node runs",
                    exit: .usage
                ),
                status: error.status
            )
        } catch let error where !(error is CancellationError) {
            context.logger.error("request failed", metadata: ["error": "\(error)"])
            return try answer(
                Failure(
                    "the node failed to answer",
                    why: "\(error)",
                    hint: "see the node's log",
                    exit: .internalFault
                )
            )
        }
    }

    private func answer(_ failure: Failure, status: HTTPResponse.Status? = nil) throws -> Response {
        try ReportCoding.response(failure, status: status ?? Self.status(of: failure))
    }

    private static func status(of failure: Failure) -> HTTPResponse.Status {
        switch ExitStatus(rawValue: failure.exitCode) {
        case .usage: .badRequest
        case .permission: .forbidden
        case .unavailable, .temporary: .serviceUnavailable
        case .internalFault: .internalServerError
        default: .conflict
        }
    }
}
