import Base
import Directory
import RelayCore
import Synchronization
import Wire

/// Hands clients' sealed requests on to mints, for a relay: it knows where the mints are and nothing
/// of what is asked.
final class MintForwarder: Sendable {
    private let post = MintPost()
    private let addresses = Mutex<[UInt8: [SocketAddress]]>([:])

    /// Takes the mints of a newer view.
    func note(_ view: NetworkView) {
        let known = view.consensus.mints.announcements.map { ($0.index, $0.addresses) }
        addresses.withLock { $0 = Dictionary(known, uniquingKeysWith: { first, _ in first }) }
    }

    /// Hands `request` on, and tells `done` what came of it.
    func forward(
        _ request: RelayControl.MintRequest,
        done: @escaping @Sendable (RelayControl.MintOutcome) -> Void
    ) {
        guard let mint = addresses.withLock({ $0[request.mint] }) else {
            return done(.unknownMint)
        }
        let post = post
        Task {
            do throws(MintPostError) {
                done(.answered(try await post.post(request.bytes, to: request.mint, at: mint)))
            } catch {
                done(.unreachable)
            }
        }
    }
}
