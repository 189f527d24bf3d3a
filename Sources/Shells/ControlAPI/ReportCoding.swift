import FoundationEssentials
import Hummingbird
import NIOCore

/// Reports and requests as JSON: one object, keys sorted, no line break within it.
enum ReportCoding {
    /// Bytes a request's body may have, at most.
    static let requestLimit = 65_536
    /// Bytes a report may have, at most.
    static let reportLimit = 4_194_304

    /// The JSON text of `report`.
    static func encode(_ report: some Encodable) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ByteBuffer(bytes: try encoder.encode(report))
    }

    /// Reads `type` from JSON text.
    static func decode<Value: Decodable>(_ type: Value.Type, from text: ByteBuffer) throws -> Value
    {
        try JSONDecoder().decode(type, from: Data(text.readableBytesView))
    }

    /// The response that carries `report`.
    static func response(
        _ report: some Encodable,
        status: HTTPResponse.Status = .ok
    ) throws -> Response {
        Response(
            status: status,
            headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: try encode(report))
        )
    }
}
