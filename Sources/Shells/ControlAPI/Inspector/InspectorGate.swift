import HTTPTypes
import Hummingbird
import NIOCore

/// Lets only the page itself ask, and tells browsers to keep it to itself.
///
/// A name that resolves to 127.0.0.1 (DNS rebinding) fails at `Host`; a page of another origin at
/// `Origin`, at `Sec-Fetch-Site` and at the cookie, which is `SameSite=Strict`; another program of
/// this machine at the token.
struct InspectorGate<Context: RequestContext>: RouterMiddleware {
    let place: InspectorPlace
    let token: String

    /// The name of the cookie that holds the token.
    static var cookie: String { "umbel-inspector" }

    func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        var response: Response
        if let refusal = refusal(request) {
            response = Self.answer(refusal.0, refusal.1)
        } else {
            do {
                response = try await next(request, context)
            } catch let error as any HTTPResponseError {
                response = Self.answer(error.status, "there is nothing here\n")
            }
        }
        for (name, value) in Self.fields {
            if let name = HTTPField.Name(name) { response.headers[name] = value }
        }
        return response
    }

    private func refusal(_ request: Request) -> (HTTPResponse.Status, String)? {
        guard place.contains(request.head.authority) else {
            return (.misdirectedRequest, "this page is not known by that name\n")
        }
        let origin = request.headers[.origin]
        let isOwn = origin.map { origin in
            origin.hasPrefix("http://") && place.contains(String(origin.dropFirst(7)))
        }
        let isRead = request.method == .get || request.method == .head
        // A browser names the origin of everything that is not a plain read.
        guard isOwn ?? isRead else { return (.forbidden, "another page may not ask\n") }
        if let site = HTTPField.Name("sec-fetch-site").flatMap({ request.headers[$0] }),
            site != "same-origin", site != "none"
        {
            return (.forbidden, "another page may not ask\n")
        }
        if isRead, request.uri.path == "/", let shown = request.uri.queryParameters["token"] {
            return matches(String(shown)) ? nil : Self.unknown
        }
        return matches(cookie(in: request)) ? nil : Self.unknown
    }

    private static var unknown: (HTTPResponse.Status, String) {
        (.unauthorized, "open the address that `umbel inspector` printed\n")
    }

    private func cookie(in request: Request) -> String {
        for field in request.headers[values: .cookie] {
            for part in field.split(separator: ";") {
                let pair = part.drop { $0 == " " }.split(separator: "=", maxSplits: 1)
                if pair.count == 2, pair[0] == Self.cookie { return String(pair[1]) }
            }
        }
        return ""
    }

    /// Whether `shown` is the token, in a time that tells nothing of where they differ.
    private func matches(_ shown: String) -> Bool {
        let (one, other) = (Array(shown.utf8), Array(token.utf8))
        guard one.count == other.count else { return false }
        return zip(one, other).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func answer(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status,
            headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    private static var fields: [(String, String)] {
        [
            (
                "content-security-policy",
                "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            ("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"), ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ]
    }
}
