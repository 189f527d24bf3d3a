package import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
import Synchronization

/// Serves the inspector page on loopback, and hands its questions on to a node's control socket.
///
/// Whoever opens the page needs the token of this start, which the address printed carries; a cookie
/// holds it from then on. What the page may ask is a list (``InspectorRoutes``): looking, and what
/// can be undone. A ``InspectorGate`` refuses everybody else, other web pages above all.
public struct Inspector: Sendable {
    private let node: ControlClient
    private let token: String
    private let logger: Logger

    /// Makes an inspector of `node` that whoever knows `token`, 64 hexadecimal digits, may use.
    public init(node: ControlClient, token: String, logger: Logger) {
        self.node = node
        self.token = token
        self.logger = logger
    }

    /// Serves until the task is cancelled.
    ///
    /// - Parameters:
    ///   - port: the port on 127.0.0.1; 0 lets the kernel choose.
    ///   - onReady: called once with the page's address, the token in it.
    /// - Throws: ``Failure`` where the port cannot be had.
    public func serve(
        port: Int,
        onReady: @escaping @Sendable (String) -> Void
    ) async throws {
        let place = InspectorPlace()
        let token = token
        let application = Application(
            router: router(at: place),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? port
                place.set(["127.0.0.1:\(port)", "localhost:\(port)"])
                onReady("http://127.0.0.1:\(port)/?token=\(token)")
            },
            logger: ServerLog.of(logger)
        )
        do {
            try await application.run()
        } catch is CancellationError {
            // Stopped as asked.
        } catch {
            throw Failure(
                "cannot serve the page at 127.0.0.1:\(port)",
                why: "\(error)",
                hint: "choose another --port, or 0 for any that is free",
                exit: .unavailable
            )
        }
    }

    /// The page and its questions, for those who come by one of the names of `place`.
    package func router(at place: InspectorPlace) -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self)
        router.middlewares.add(InspectorGate(place: place, token: token))
        InspectorRoutes(node: node, token: token).add(to: router)
        return router
    }
}

/// The names under which an inspector is reached: what `Host` and `Origin` must say.
package final class InspectorPlace: Sendable {
    private let authorities = Mutex<[String]>([])

    /// Makes a place that nobody reaches yet.
    package init() {}

    /// Makes a place with these names, each with its port.
    package convenience init(_ names: [String]) {
        self.init()
        set(names)
    }

    func set(_ names: [String]) {
        authorities.withLock { $0 = names }
    }

    /// Whether `authority` is one of them.
    func contains(_ authority: String?) -> Bool {
        guard let authority else { return false }
        return authorities.withLock { $0.contains(authority) }
    }
}
