import ControlAPI
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Testing

@Suite("Who may use the inspector page (rows 76 and 78)", .timeLimit(.minutes(1)))
struct InspectorTests {
    private static let token = String(repeating: "5a", count: 32)
    private static let cookie = "umbel-inspector=\(token)"
    private static let ownOrigin = "http://localhost"

    /// The page of a node that is not there, reached as the test client names it.
    private func page(
        names: [String] = ["localhost"],
        socket: String = "/nonexistent/socket"
    ) -> some ApplicationProtocol {
        let inspector = Inspector(
            node: ControlClient(path: socket, start: "umbel daemon"),
            token: Self.token,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        return Application(router: inspector.router(at: InspectorPlace(names)))
    }

    private func status(
        _ uri: String,
        _ method: HTTPRequest.Method = .get,
        _ fields: [String: String],
        names: [String] = ["localhost"]
    ) async throws -> Int {
        var named = HTTPFields()
        for (name, value) in fields {
            named[try #require(HTTPField.Name(name))] = value
        }
        let headers = named
        return try await page(names: names).test(.router) { client in
            try await client.execute(uri: uri, method: method, headers: headers) { response in
                response.status.code
            }
        }
    }

    @Test("The token in the address becomes a cookie no script sees, and leaves the address")
    func arrival() async throws {
        try await page().test(.router) { client in
            try await client.execute(uri: "/?token=\(Self.token)", method: .get) { response in
                #expect(response.status == .seeOther)
                #expect(response.headers[.location] == "/")
                #expect(
                    response.headers[.setCookie]
                        == "\(Self.cookie); Path=/; HttpOnly; SameSite=Strict"
                )
            }
            try await client.execute(
                uri: "/",
                method: .get,
                headers: [.cookie: "other=1; \(Self.cookie)"]
            ) { response in
                #expect(response.status == .ok)
                #expect(String(buffer: response.body).contains("<title>Umbel inspector</title>"))
            }
        }
    }

    @Test(
        "Without the token, or with another one, nothing is shown",
        arguments: [
            "", "umbel-inspector=", "umbel-inspector=\(String(repeating: "5b", count: 32))",
        ]
    )
    func strangers(cookie: String) async throws {
        for path in ["/", "/app.js", "/v1/status", "/v1/stream"] {
            #expect(try await status(path, .get, ["cookie": cookie]) == 401)
        }
        #expect(try await status("/?token=5a", .get, [:]) == 401)
    }

    @Test("A name that was pointed at this machine (DNS rebinding) is not ours")
    func rebinding() async throws {
        for names in [["127.0.0.1:7565"], ["localhost:7565"], []] {
            #expect(try await status("/", .get, ["cookie": Self.cookie], names: names) == 421)
            let shown = "/?token=\(Self.token)"
            #expect(try await status(shown, .get, [:], names: names) == 421)
        }
    }

    @Test(
        "Another page may neither read nor order, cookie or not",
        arguments: [
            ["origin": "http://evil.test"], ["origin": "null"], ["origin": "https://localhost"],
            ["origin": "http://localhost.evil.test"], ["origin": "http://localhost:1"],
            ["sec-fetch-site": "cross-site"], ["sec-fetch-site": "same-site"],
        ]
    )
    func otherOrigins(fields: [String: String]) async throws {
        let all = fields.merging(["cookie": Self.cookie]) { one, _ in one }
        #expect(try await status("/v1/status", .get, all) == 403)
        #expect(try await status("/v1/circuits", .post, all) == 403)
        #expect(try await status("/v1/circuits/3", .delete, all) == 403)
    }

    @Test("An order without an origin is refused: browsers name it, forms of old did not")
    func ordersNeedOrigin() async throws {
        #expect(try await status("/v1/circuits", .post, ["cookie": Self.cookie]) == 403)
        let own = ["cookie": Self.cookie, "origin": Self.ownOrigin]
        // Nobody answers at the socket, which is all that is wrong with it.
        #expect(try await status("/v1/circuits", .post, own) == 502)
        #expect(try await status("/v1/status", .get, ["cookie": Self.cookie]) == 502)
    }

    @Test("What is not on the list is not handed on: no connecting, no money, no tunnels")
    func list() async throws {
        let own = ["cookie": Self.cookie, "origin": Self.ownOrigin]
        for path in [
            "/v1/up", "/v1/down", "/v1/tunnels", "/v1/tickets/buy", "/v1/account/transfer",
        ] {
            #expect(try await status(path, .post, own) == 404, "\(path)")
        }
        #expect(try await status("/v1/account", .get, own) != 502, "mints are asked: no plain read")
        #expect(try await status("/v1/tickets/backup", .post, own) == 404)
        #expect(try await status("/etc/passwd", .get, own) == 404)
        #expect(try await status("/v1/circuits/..%2f..%2fup/explain", .get, own) >= 400)
    }

    @Test(
        "Every answer forbids content from elsewhere, guessing of types, frames and keeping",
        arguments: ["/", "/app.js", "/nothing", "/v1/status"]
    )
    func fields(path: String) async throws {
        for cookie in [Self.cookie, ""] {
            try await page().test(.router) { client in
                try await client.execute(
                    uri: path,
                    method: .get,
                    headers: [.cookie: cookie]
                ) { response in
                    let policy = response.headers[.contentSecurityPolicy] ?? ""
                    #expect(policy.hasPrefix("default-src 'self';"))
                    #expect(!policy.contains("unsafe"))
                    #expect(policy.contains("frame-ancestors 'none'"))
                    #expect(response.headers[.xContentTypeOptions] == "nosniff")
                    #expect(response.headers[.cacheControl] == "no-store")
                    #expect(response.headers[.accessControlAllowOrigin] == nil)
                }
            }
        }
    }

    @Test("The page's files name nothing outside themselves")
    func assets() async throws {
        try await page().test(.router) { client in
            for path in ["/", "/app.css", "/app.js", "/pages.js", "/pictures.js", "/world.js"] {
                try await client.execute(
                    uri: path,
                    method: .get,
                    headers: [.cookie: Self.cookie]
                ) { response in
                    #expect(response.status == .ok)
                    var text = String(buffer: response.body)
                    // A name of a language of the web, not a place.
                    text.replace("http://www.w3.org/2000/svg", with: "")
                    #expect(!text.contains("http://") && !text.contains("https://"), "\(path)")
                    #expect(!text.contains("innerHTML") && !text.contains("eval("), "\(path)")
                    #expect(!text.contains(" style="), "the policy refuses inline styles: \(path)")
                }
            }
        }
    }

    @Test("Questions and orders of the page reach the node's socket")
    func forwarding() async throws {
        let socket = try TestSocket()
        let circuits = FixedCircuits()
        try await socket.serving(FixedClient(), circuits: circuits) { _ in
            try await page(socket: socket.path).test(.router) { client in
                let headers: HTTPFields = [.cookie: Self.cookie, .origin: Self.ownOrigin]
                try await client.execute(uri: "/v1/status", method: .get, headers: headers) {
                    #expect($0.status == .ok)
                    let report = try JSONDecoder().decode(
                        StatusReport.self,
                        from: Data($0.body.readableBytesView)
                    )
                    #expect(report == FixedClient.report)
                }
                try await client.execute(
                    uri: "/v1/circuits/3",
                    method: .delete,
                    headers: headers
                ) { #expect($0.status == .ok) }
                try await client.execute(
                    uri: "/v1/trace",
                    method: .post,
                    headers: headers,
                    body: ByteBuffer(string: #"{"count":0,"interval_ms":1,"patience_ms":600}"#)
                ) { #expect($0.status == .badRequest) }
                try await client.execute(uri: "/v1/stream", method: .get, headers: headers) {
                    #expect($0.headers[.contentType] == "text/event-stream")
                    #expect(String(buffer: $0.body).contains("event: circuits\ndata: {"))
                }
            }
        }
        #expect(circuits.calls == ["close 3"])
    }
}
