import Base
import CryptoPrimitives
import DirectoryHTTP
import Tickets
import Wire

/// Why a mint's answer did not come.
enum MintPostError: Error, Hashable, Sendable {
    /// The consensus names no such mint, or says not where it is.
    case unknownMint(UInt8)
    /// Its key in the consensus is none.
    case badKey
    /// It cannot be reached, or refuses.
    case unreachable(String)
    /// What came is not its answer to this request.
    case notItsAnswer
}

/// Sends sealed requests to mints over HTTP, for those who need not hide: relays and other mints.
struct MintPost: Sendable {
    private static let time: Duration = .seconds(10)
    private let http = DirectoryClient()

    /// What the mint with `index` answers to `request`.
    func ask(
        _ request: MintRequest,
        of index: UInt8,
        in tickets: TicketNetwork
    ) async throws(MintPostError) -> MintReply {
        guard let mint = tickets.mints[index] else { throw .unknownMint(index) }
        let sealed: (bytes: [UInt8], answerer: SealedRequest.Answerer)
        do throws(CryptoError) {
            sealed = try SealedRequest.seal(request.encoded, to: mint.sealingKey)
        } catch {
            throw .badKey
        }
        let answer = try await post(sealed.bytes, to: index, at: mint.addresses)
        return try Self.open(answer, with: sealed.answerer)
    }

    /// What the mint with `index` answers to a request somebody else sealed.
    func post(
        _ sealed: [UInt8],
        to index: UInt8,
        at addresses: [SocketAddress]
    ) async throws(MintPostError) -> [UInt8] {
        guard let address = addresses.first else { throw .unknownMint(index) }
        let response: DirectoryClient.Response
        do throws(DirectoryFetchError) {
            response = try await http.send(
                .post(.request, sealed),
                to: address,
                limit: TicketLimits.exchangeByteCount + SealedRequest.answerOverheadByteCount,
                within: Self.time
            )
        } catch {
            throw .unreachable("\(error)")
        }
        guard case .bytes(let bytes) = response else {
            throw .unreachable("\(address) is no mint")
        }
        return bytes
    }

    /// Opens an answer.
    static func open(
        _ answer: [UInt8],
        with answerer: SealedRequest.Answerer
    ) throws(MintPostError) -> MintReply {
        do {
            return try MintReply(parsing: try SealedRequest.open(answer: answer, with: answerer))
        } catch {
            throw .notItsAnswer
        }
    }
}

extension MintPostError: CustomStringConvertible {
    /// Why, for people.
    var description: String {
        switch self {
        case .unknownMint(let index): "the consensus does not say where mint \(index) is"
        case .badKey: "the consensus names no usable key of the mint"
        case .unreachable(let why): why
        case .notItsAnswer: "what came back is not the mint's answer"
        }
    }
}
