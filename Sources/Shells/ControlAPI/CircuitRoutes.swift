import Hummingbird

// The paths by which circuits are looked into.
extension ControlRoutes {
    /// What a client's daemon answers of its circuits.
    static func add(circuits service: some CircuitService, to router: Router<ControlContext>) {
        router.get("v1/stream") { request, _ in
            StateStream.response(request, { await service.stateUpdates() }, StateStream.message)
        }
        router.post("v1/trace") { request, _ in
            let trace = try await body(TraceRequest.self, of: request)
            if let problem = trace.problem {
                throw Failure(
                    "cannot trace like that",
                    why: problem,
                    hint: "umbel trace --count 10",
                    exit: .usage
                )
            }
            return try ReportCoding.response(await service.trace(trace))
        }
        router.post("v1/circuits") { _, _ in
            try ReportCoding.response(await service.newCircuit(), status: .created)
        }
        router.get("v1/circuits/{id}/explain") { _, context in
            let id = try context.parameters.require("id", as: UInt64.self)
            return try ReportCoding.response(await service.explain(id))
        }
        router.delete("v1/circuits/{id}") { _, context in
            let id = try context.parameters.require("id", as: UInt64.self)
            return try ReportCoding.response(await service.closeCircuit(id))
        }
        router.post("v1/leaktest") { _, _ in try ReportCoding.response(await service.leakTest()) }
    }
}
