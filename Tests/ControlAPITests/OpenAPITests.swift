import Foundation
import Hummingbird
import Testing
import Yams

@testable import ControlAPI

@Suite("openapi.yaml says what the API does")
struct OpenAPITests {
    private let text: [String: Any]

    init() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources/Shells/ControlAPI/openapi.yaml")
        let whole = try String(contentsOf: file, encoding: .utf8)
        text = try #require(try Yams.load(yaml: whole) as? [String: Any])
    }

    private static func routes(_ add: (Router<ControlContext>) -> Void) -> Set<String> {
        let node = NodeReport(role: .client, version: "0", pid: 1)
        let bare = ControlRoutes.router(node: node, group: nil)
        let full = ControlRoutes.router(node: node, group: nil)
        add(full)
        return names(full).subtracting(names(bare))
    }

    private static func names(_ router: Router<ControlContext>) -> Set<String> {
        Set(
            router.routes.map { route in
                let path = "\(route.path)"
                return "\(route.method) \(path.hasPrefix("/") ? path : "/" + path)"
            }
        )
    }

    @Test("Its paths by role are the routes there are, and it describes each of them")
    func routes() throws {
        let roles = try #require(text["x-roles"] as? [String: [String]])
        let node = NodeReport(role: .client, version: "0", pid: 1)
        let actual: [String: Set<String>] = [
            "any": Self.names(ControlRoutes.router(node: node, group: nil)),
            "client": Self.routes {
                ControlRoutes.add(FixedClient(), to: $0)
                ControlRoutes.add(circuits: FixedCircuits(), to: $0)
            },
            "wallet": Self.routes { ControlRoutes.add(wallet: NoWallet(), to: $0) },
            "protection": Self.routes { ControlRoutes.add(protection: FixedProtection(), to: $0) },
            "relay": Self.routes {
                ControlRoutes.add(FixedRelay(), to: $0)
                ControlRoutes.add(earnings: NoEarnings(), to: $0)
            },
            "authority": Self.routes { ControlRoutes.add(NoAuthority(), to: $0) },
            "mint": Self.routes { ControlRoutes.add(NoMint(), to: $0) },
        ]
        #expect(Set(roles.keys) == Set(actual.keys))
        for (role, routes) in actual {
            #expect(Set(roles[role] ?? []) == routes, "\(role)")
        }
        let paths = try #require(text["paths"] as? [String: [String: Any]])
        var described = Set<String>()
        for (path, methods) in paths {
            for method in methods.keys where method != "parameters" {
                described.insert("\(method.uppercased()) \(path)")
            }
        }
        #expect(described == Set(actual.values.joined()))
    }

    @Test("The reports are as it describes them, field by field", arguments: samples)
    func reports(sample: Sample) throws {
        let encoder = JSONEncoder()
        let data = try encoder.encode(sample.value)
        let json = try JSONSerialization.jsonObject(with: data)
        var problems: [String] = []
        check(
            json,
            against: ["$ref": "#/components/schemas/\(sample.name)"],
            sample.name,
            &problems
        )
        #expect(problems.isEmpty)
    }

    @Test("It describes nothing that no sample shows")
    func samplesAreComplete() throws {
        let schemas = try schemas()
        var seen = Set<String>()
        for sample in Self.samples { mark(sample.name, in: schemas, &seen) }
        // What is only ever sent to a node, and what says why not.
        for name in [
            "PingRequest", "TraceRequest", "ExitSurveyRequest", "UpRequest", "TunnelRequest",
            "BuyRequest", "GrantSubmission", "TransferRequest", "LockdownRequest",
            "LoginRequest", "DrainRequest", "Failure",
        ] { mark(name, in: schemas, &seen) }
        #expect(Set(schemas.keys) == seen)
    }

    @Test("The check finds a field too many, one too few, and a wrong type")
    func checkerChecks() throws {
        let schema: [String: Any] = ["$ref": "#/components/schemas/NodeReport"]
        let good: [String: Any] = ["schema": 1, "role": "client", "version": "1", "pid": 3]
        func problems(_ change: (inout [String: Any]) -> Void) throws -> Int {
            var object = good
            change(&object)
            // As JSON has it, where a number is neither Int nor Double.
            let data = try JSONSerialization.data(withJSONObject: object)
            var found: [String] = []
            check(try JSONSerialization.jsonObject(with: data), against: schema, "", &found)
            return found.count
        }
        #expect(try problems { _ in } == 0)
        #expect(try problems { $0["more"] = 1 } == 1)
        #expect(try problems { $0["pid"] = nil } == 1)
        #expect(try problems { $0["version"] = 1 } == 1)
        #expect(try problems { $0["role"] = "king" } == 1)
        #expect(try problems { $0["schema"] = 2 } == 1)
    }

    // MARK: Schemas

    private func schemas() throws -> [String: [String: Any]] {
        let components = try #require(text["components"] as? [String: Any])
        return try #require(components["schemas"] as? [String: [String: Any]])
    }

    private func mark(
        _ name: String,
        in schemas: [String: [String: Any]],
        _ seen: inout Set<String>
    ) {
        guard seen.insert(name).inserted, let schema = schemas[name] else { return }
        for found in "\(schema)".matches(of: /#\/components\/schemas\/(\w+)/) {
            mark(String(found.1), in: schemas, &seen)
        }
    }

    private func check(
        _ json: Any,
        against schema: [String: Any],
        _ place: String,
        _ problems: inout [String]
    ) {
        if let name = (schema["$ref"] as? String)?.split(separator: "/").last {
            guard let target = try? schemas()[String(name)] else {
                return problems.append("\(place): there is no schema \(name)")
            }
            return check(json, against: target, place, &problems)
        }
        if let allowed = schema["enum"] as? [Any],
            !allowed.contains(where: { "\($0)" == "\(json)" })
        {
            problems.append("\(place): \(json) is not listed")
        }
        switch schema["type"] as? String {
        case "object":
            guard let object = json as? [String: Any] else {
                return problems.append("\(place) is no object")
            }
            let properties = schema["properties"] as? [String: [String: Any]] ?? [:]
            for name in schema["required"] as? [String] ?? [] where object[name] == nil {
                problems.append("\(place).\(name) is missing")
            }
            for (name, value) in object {
                let inner = properties[name] ?? schema["additionalProperties"] as? [String: Any]
                guard let inner else {
                    problems.append("\(place).\(name) is not described")
                    continue
                }
                check(value, against: inner, "\(place).\(name)", &problems)
            }
        case "array":
            guard let list = json as? [Any] else { return problems.append("\(place) is no list") }
            let inner = schema["items"] as? [String: Any] ?? [:]
            for value in list { check(value, against: inner, "\(place)[]", &problems) }
        case "string":
            if !(json is String) { problems.append("\(place) is no text") }
        case "boolean":
            if !(json is Bool) { problems.append("\(place) is not true or false") }
        case "integer":
            let number = json is String ? nil : json as? Double
            if number == nil || number != number?.rounded() {
                problems.append("\(place) is no whole number")
            }
        case "number":
            if json is String || json as? Double == nil { problems.append("\(place) is no number") }
        case let other:
            problems.append("\(place): no known type \(other ?? "at all")")
        }
    }
}

private struct NoEarnings: EarningsService {
    func earnings() async throws(Failure) -> EarningsReport {
        throw Failure("none", why: "none", hint: "none", exit: .failed)
    }
}

private struct NoAuthority: AuthorityService {
    func status() async -> AuthorityStatusReport { OpenAPITests.authority }
}

private struct NoMint: MintService {
    func status() async -> MintStatusReport { OpenAPITests.mint }
    func check() async throws(Failure) -> MintCheckReport {
        MintCheckReport(isConsistent: true, status: OpenAPITests.mint)
    }
}
