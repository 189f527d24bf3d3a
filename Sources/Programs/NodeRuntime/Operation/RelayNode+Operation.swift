import Base
public import ControlAPI
import EventLoop
import Logging
public import NodeConfiguration
public import Observability

extension RelayNode {
    /// Takes what a newer file says of the line; whatever else it changes waits for the next start.
    public func reload(_ newer: RelayConfiguration) async {
        await keeper.setLine(newer.line)
        var rest = newer
        rest.line = configuration.line
        guard rest != configuration else { return }
        let names = configuration.differences(from: newer).joined(separator: ", ")
        logger.warning("what \(names) says now takes effect at the next start")
    }

    /// Refuses new circuits from now on, or serves again.
    public func drain(_ request: DrainRequest) async throws -> RelayStatusReport {
        await keeper.drain(request.isDraining, within: request.seconds)
        return await status()
    }

    /// Uses another circuit key from now on.
    public func rotateKeys() async throws -> KeyRotationReport {
        do {
            guard let key = try await directory.rotateKeys() else {
                throw Failure(
                    "no new circuit key was made",
                    why: "one was made in this minute, or this network's directory is signed by"
                        + " hand",
                    hint: "try again in a minute",
                    exit: .temporary
                )
            }
            return KeyRotationReport(expiryMinute: key.expiryMinute)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(
                "no new circuit key can be made",
                why: "\(error)",
                hint: "check the folder \(configuration.stateFolder) and the room on its disk",
                exit: .failed
            )
        }
    }

    /// Returns once all threads have answered; hangs where one does not.
    public func proveAlive() async {
        await keeper.proveAlive()
    }

    /// Serves metrics as long as the process lives.
    ///
    /// - Throws: ``Failure`` where the address cannot be bound.
    func serveMetrics(on address: SocketAddress, logger: Logger) async throws {
        let server = MetricsServer(address: address, logger: logger)
        let (outcomes, outcome) = AsyncStream.makeStream(of: String?.self)
        // Ends with the process.
        Task { [self] in
            do {
                try await server.serve(self) { _ in outcome.yield(nil) }
            } catch {
                outcome.yield("\(error)")
            }
            outcome.finish()
        }
        for await problem in outcomes {
            guard let problem else { return }
            throw Failure(
                "metrics cannot be served on \(address)",
                why: problem,
                hint: "choose a free port for `listen` in [metrics]",
                exit: .unavailable
            )
        }
    }
}

extension RelayNode: MetricsService {
    /// Its counters, as of the last ten seconds.
    public func metrics() async -> String {
        await keeper.text
    }

    /// How it is.
    public func health() async -> NodeHealth {
        let isAlive = await keeper.isAlive
        let (known, listing) = await directory.reports()
        let now = WallClock.now().seconds
        let why: String? =
            if !isAlive {
                "its threads do not answer"
            } else if let reason = await keeper.whyNotServing {
                reason
            } else if let resolver, !resolver.state.isAnswering {
                "its resolver does not answer"
            } else if known == nil {
                "it has no directory yet"
            } else if let known, known.validUntil <= now {
                "its directory is out of date"
            } else if let listing, !listing.isListed {
                "the directory does not list it"
            } else {
                nil
            }
        return NodeHealth(isStarted: true, isAlive: isAlive, whyNotReady: why)
    }
}

extension RelayConfiguration {
    /// The tables in which `other` says something else, the line's limits left out.
    fileprivate func differences(from other: Self) -> [String] {
        var names: [String] = []
        if (nickname, contact, stateFolder) != (other.nickname, other.contact, other.stateFolder)
            || (country, familyKey) != (other.country, other.familyKey)
        {
            names.append("[node]")
        }
        if (listenAddresses, announcedAddresses)
            != (other.listenAddresses, other.announcedAddresses)
        {
            names.append("[listen]")
        }
        if directory != other.directory { names.append("[directory]") }
        if exit != other.exit { names.append("[exit]") }
        if control != other.control { names.append("[control]") }
        if limits != other.limits { names.append("shards, circuits or links in [limits]") }
        if metrics != other.metrics { names.append("[metrics]") }
        return names
    }
}
