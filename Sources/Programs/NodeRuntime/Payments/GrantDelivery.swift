import Base
import CryptoPrimitives
import Directory
import DirectoryHTTP
import EventLoop
public import NodeConfiguration
import Tickets
public import Wire

/// Brings grants to the mints of a network, for admins: in the clear, for they hide nothing.
public struct GrantDelivery: Sendable {
    private static let time: Duration = .seconds(10)
    private static let documentLimit = 64 << 20

    private let network: NetworkConfiguration
    private let http = DirectoryClient()
    private let post = MintPost()

    /// Delivers to the mints of the network `configuration` describes.
    public init(_ configuration: NetworkConfiguration) {
        network = configuration
    }

    /// Why nothing was delivered.
    public enum Problem: Error, Hashable, Sendable {
        /// No authority hands out a consensus that can be believed.
        case noConsensus(String)
        /// The consensus names no mints.
        case noMints
    }

    /// What each mint said to `grant`, by its name; `nil` where it has taken it.
    ///
    /// - Throws: ``Problem``, `DirectoryError` for a trust root that is none.
    public func send(_ grant: MintGrant) async throws -> [(mint: String, refusal: String?)] {
        let tickets = try await tickets()
        var answers: [(mint: String, refusal: String?)] = []
        for mint in network.mints {
            do throws(MintPostError) {
                let reply = try await post.ask(.grant(grant), of: mint.index, in: tickets)
                switch reply {
                case .taken: answers.append((mint.name, nil))
                case .refused(let reason, _): answers.append((mint.name, "refused: \(reason.name)"))
                case .account, .vote: answers.append((mint.name, "it answers something else"))
                }
            } catch {
                answers.append((mint.name, "\(error)"))
            }
        }
        return answers
    }

    private func tickets() async throws -> TicketNetwork {
        let root = try TrustRoot(network)
        var why = "no authority has an address"
        for authority in network.authorities {
            guard let address = authority.addresses.first else { continue }
            do {
                let answer = try await http.send(
                    .newest,
                    to: address,
                    limit: Self.documentLimit,
                    within: Self.time
                )
                guard case .bytes(let bytes) = answer else {
                    why = "\(authority.name) has no consensus yet"
                    continue
                }
                let document = try ConsensusDocument(parsing: bytes)
                let view = try root.verify(document, at: WallClock.now())
                guard let tickets = TicketNetwork(view.consensus) else { throw Problem.noMints }
                return tickets
            } catch let problem as Problem {
                throw problem
            } catch {
                why = "\(authority.name): \(error)"
            }
        }
        throw Problem.noConsensus(why)
    }
}

extension GrantDelivery.Problem: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .noConsensus(let why): "there is no consensus: \(why)"
        case .noMints: "the consensus names no mints"
        }
    }
}
