import AsyncHTTPClient
import Hummingbird
import NIOCore
import NIOHTTP1

/// What the page is made of, and what it may ask of the node behind it.
struct InspectorRoutes: Sendable {
    let node: ControlClient
    let token: String

    /// Reports the page may read.
    static let reads = [
        "node", "status", "relays", "circuits", "tickets", "tickets/audit", "earnings",
    ]

    /// The page's files: the path, the type and the bytes.
    static let files: [(path: String, type: String, bytes: [UInt8])] = [
        ("app.css", "text/css; charset=utf-8", PackageResources.app_css),
        ("app.js", "text/javascript; charset=utf-8", PackageResources.app_js),
        ("pages.js", "text/javascript; charset=utf-8", PackageResources.pages_js),
        ("pictures.js", "text/javascript; charset=utf-8", PackageResources.pictures_js),
        ("world.js", "text/javascript; charset=utf-8", PackageResources.world_js),
        ("icon.svg", "image/svg+xml", PackageResources.icon_svg),
        ("openapi.yaml", "text/plain; charset=utf-8", PackageResources.openapi_yaml),
    ]

    func add(to router: Router<BasicRequestContext>) {
        router.get("/") { request, _ in page(request) }
        for file in Self.files {
            router.get(RouterPath(file.path)) { _, _ in
                Self.file(file.bytes, type: file.type)
            }
        }
        for report in Self.reads {
            router.get(RouterPath("v1/\(report)")) { _, _ in
                await forward(.GET, "/v1/\(report)")
            }
        }
        router.get("v1/events") { _, _ in
            await forward(.GET, "/v1/events", as: "application/jsonl")
        }
        router.get("v1/circuits/{id}/explain") { _, context in
            let id = try context.parameters.require("id", as: UInt64.self)
            return await forward(.GET, "/v1/circuits/\(id)/explain")
        }
        router.get("v1/stream") { request, _ in await stream(request) }
        router.post("v1/trace") { request, _ in
            let body = try await request.body.collect(upTo: ReportCoding.requestLimit)
            return await forward(.POST, "/v1/trace", body)
        }
        for order in ["circuits", "leaktest"] {
            router.post(RouterPath("v1/\(order)")) { _, _ in await forward(.POST, "/v1/\(order)") }
        }
        // Mints are asked for it, so it is no plain look.
        router.post("v1/account") { _, _ in await forward(.GET, "/v1/account") }
        router.delete("v1/circuits/{id}") { _, context in
            let id = try context.parameters.require("id", as: UInt64.self)
            return await forward(.DELETE, "/v1/circuits/\(id)")
        }
    }

    /// The page; whoever comes with the token in the address gets it as a cookie instead.
    private func page(_ request: Request) -> Response {
        guard request.uri.queryParameters["token"] != nil else {
            return Self.file(PackageResources.index_html, type: "text/html; charset=utf-8")
        }
        let cookie = InspectorGate<BasicRequestContext>.cookie
        return Response(
            status: .seeOther,
            headers: [
                .location: "/",
                .setCookie: "\(cookie)=\(token); Path=/; HttpOnly; SameSite=Strict",
            ]
        )
    }

    private static func file(_ bytes: [UInt8], type: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }

    private func forward(
        _ method: HTTPMethod,
        _ target: String,
        _ body: ByteBuffer? = nil,
        as type: String = "application/json"
    ) async -> Response {
        do throws(Failure) {
            let answer = try await node.forward(method, target, body)
            return Response(
                status: HTTPResponse.Status(code: answer.status),
                headers: [.contentType: type],
                body: ResponseBody(byteBuffer: answer.body)
            )
        } catch {
            return Self.failed(error)
        }
    }

    private func stream(_ request: Request) async -> Response {
        do throws(Failure) {
            let upstream = try await node.forwardStream("/v1/stream")
            guard upstream.status == .ok else {
                return Response(status: HTTPResponse.Status(code: Int(upstream.status.code)))
            }
            return Response(
                status: .ok,
                headers: [.contentType: "text/event-stream"],
                body: ResponseBody { writer in
                    // Something comes each second: a reader that has left is noticed by then.
                    for try await part in upstream.body { try await writer.write(part) }
                    try await writer.finish(nil)
                }
            )
        } catch {
            return Self.failed(error)
        }
    }

    private static func failed(_ failure: Failure) -> Response {
        let response = try? ReportCoding.response(failure, status: .badGateway)
        return response ?? Response(status: .badGateway)
    }
}
