import AsyncHTTPClient
import NIOCore
import NIOHTTP1

// Questions of others, handed on as they are.
extension ControlClient {
    /// What a node answered.
    struct Answer: Sendable {
        /// The status of HTTP.
        let status: Int
        /// The report or ``Failure``.
        let body: ByteBuffer
    }

    /// Hands a request on, and its answer back, whatever that says.
    func forward(
        _ method: HTTPMethod,
        _ target: String,
        _ body: ByteBuffer?
    ) async throws(Failure) -> Answer {
        do {
            let request = request(method, target, body)
            return try await Self.limited(to: Self.changeTimeout) {
                let response = try await Self.http.execute(request, deadline: .distantFuture)
                return Answer(
                    status: Int(response.status.code),
                    body: try await response.body.collect(upTo: ReportCoding.reportLimit)
                )
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw failure(for: error)
        }
    }

    /// Begins to read a stream; it has no end of its own.
    func forwardStream(_ target: String) async throws(Failure) -> HTTPClientResponse {
        do {
            return try await Self.http.execute(
                request(.GET, target, nil),
                timeout: TimeAmount(Self.timeout)
            )
        } catch {
            throw failure(for: error)
        }
    }
}
