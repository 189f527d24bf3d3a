import Hummingbird
import NIOCore

/// Server-Sent Events: text that goes on for as long as its reader stays.
///
/// Spec: HTML Standard, section 9.2: `event: NAME`, `data: LINE`, and an empty line.
enum StateStream {
    /// How long a stream is silent at most: a comment shows its reader that it stands.
    static let heartbeat = Duration.seconds(15)
    /// Messages that wait for a slow reader, at most.
    static let backlog = 256

    /// One message; `data` has no line break.
    static func message(_ name: String, data: ByteBuffer) -> ByteBuffer {
        var text = ByteBuffer(string: "event: \(name)\ndata: ")
        text.writeImmutableBuffer(data)
        text.writeString("\n\n")
        return text
    }

    /// The message for a state.
    static func message(_ update: StateUpdate) throws -> ByteBuffer {
        switch update {
        case .status(let report): message("status", data: try ReportCoding.encode(report))
        case .circuits(let report): message("circuits", data: try ReportCoding.encode(report))
        case .event(let event): message("event", data: try ReportCoding.encode(event))
        }
    }

    /// What `state` returns, each second, for as long as it is read.
    static func eachSecond<State: Sendable>(
        _ state: @escaping @Sendable () async -> State
    ) -> AsyncStream<State> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: State.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let looking = Task {
            while true {
                continuation.yield(await state())
                try await Task.sleep(for: .seconds(1))
            }
        }
        continuation.onTermination = { _ in looking.cancel() }
        return stream
    }

    /// The response that sends what `updates` brings.
    static func response<Update: Sendable>(
        _ request: Request,
        _ updates: @escaping @Sendable () async -> AsyncStream<Update>,
        _ message: @escaping @Sendable (Update) throws -> ByteBuffer
    ) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                try await send(request, await updates(), message, to: &writer)
            }
        )
    }

    @concurrent private static func send<Update: Sendable>(
        _ request: Request,
        _ updates: AsyncStream<Update>,
        _ message: @escaping @Sendable (Update) throws -> ByteBuffer,
        to writer: inout any ResponseBodyWriter
    ) async throws {
        let (texts, continuation) = AsyncStream.makeStream(
            of: ByteBuffer.self,
            bufferingPolicy: .bufferingNewest(backlog)
        )
        let feed = Task {
            defer { continuation.finish() }
            try await request.body.consumeWithCancellationOnInboundClose { _ in
                for await update in updates { continuation.yield(try message(update)) }
            }
        }
        let beat = Task {
            while true {
                try await Task.sleep(for: heartbeat)
                continuation.yield(ByteBuffer(string: ": still there\n\n"))
            }
        }
        defer {
            feed.cancel()
            beat.cancel()
        }
        for await text in texts { try await writer.write(text) }
        try await writer.finish(nil)
    }
}
