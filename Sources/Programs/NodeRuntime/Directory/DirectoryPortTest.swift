import Base
import DirectoryHTTP

/// Whether a relay hands out the directory to those outside.
enum DirectoryPortTest {
    private static let patience: Duration = .seconds(5)
    private static let answerLimit = 1 << 16

    /// Why the relay's TCP port at `address` does not answer; `nil` where it does, whatever it says.
    static func fault(at address: SocketAddress, _ http: DirectoryClient) async -> String? {
        do throws(DirectoryFetchError) {
            _ = try await http.send(
                .proof,
                to: address,
                limit: answerLimit,
                within: patience
            )
            return nil
        } catch {
            switch error {
            case .unreachable, .timeout: return "TCP \(address) does not answer"
            case .tooLong, .encoded, .refused: return nil
            }
        }
    }
}
