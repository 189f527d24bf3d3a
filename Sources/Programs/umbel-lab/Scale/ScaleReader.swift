import Base
import FlowModel
import Foundation
import Wire
import Yams

/// Reads a file that describes a large network by numbers instead of hosts.
struct ScaleReader {
    let file: String

    /// Reads and checks `text`, naming `file` in errors.
    static func read(text: String, file: String) throws(TopologyError) -> NetworkPlan {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw TopologyError(file: file, line: 1, place: "", complaint: "not YAML: \(error)")
        }
        guard let root else {
            throw TopologyError(file: file, line: 1, place: "", complaint: "the file is empty")
        }
        return try ScaleReader(file: file).plan(TopologyNode(node: root, file: file, place: ""))
    }

    /// Whether `text` describes a network by numbers: it has no hosts.
    static func describes(_ text: String) -> Bool {
        guard let mapping = try? Yams.compose(yaml: text)?.mapping else { return false }
        return !mapping.keys.contains { $0.scalar?.string == "hosts" }
    }

    private func plan(_ root: TopologyNode) throws(TopologyError) -> NetworkPlan {
        let map = try root.mapping([
            "relays", "clients", "countries", "links", "duration", "step", "payments",
        ])
        var plan = NetworkPlan()
        plan.countries = try countries(try map.required("countries"))
        try relays(try map.required("relays"), &plan)
        try clients(try map.required("clients"), &plan)
        if let links = map["links"] {
            let values = try links.mapping(["base", "per_1000km"])
            plan.latencyBase = try values["base"].map(seconds) ?? plan.latencyBase
            plan.latencyPerMegametre =
                try values["per_1000km"].map(seconds) ?? plan.latencyPerMegametre
        }
        plan.duration = try map["duration"].map(seconds) ?? plan.duration
        plan.step = try map["step"].map(seconds) ?? plan.step
        plan.paysRelays = try map["payments"]?.choice(Topology.Payments.self) ?? .on == .on
        guard plan.step >= 1, plan.step <= plan.duration else {
            throw root.error("`step` is 1s or more, and not longer than `duration`")
        }
        return plan
    }

    private func relays(_ node: TopologyNode, _ plan: inout NetworkPlan) throws(TopologyError) {
        let map = try node.mapping([
            "count", "guards", "exits", "bandwidth", "systems", "families", "uptime",
        ])
        plan.relayCount = try map.required("count").integer(3...NetworkPlan.relayLimit)
        plan.guardShare = try share(try map.required("guards"))
        plan.exitShare = try share(try map.required("exits"))
        let guards = (Double(plan.relayCount) * plan.guardShare).rounded()
        let exits = (Double(plan.relayCount) * plan.exitShare).rounded()
        guard guards >= 1, exits >= 1, guards + exits <= Double(plan.relayCount) else {
            throw node.error(
                "\(Int(guards)) guards and \(Int(exits)) exits of \(plan.relayCount) relays make no "
                    + "circuit: there must be one of each, and together no more than all"
            )
        }
        let bandwidth = try map.required("bandwidth").mapping(["median", "spread", "least", "most"])
        plan.bandwidth = NetworkPlan.LogNormal(
            median: try rate(try bandwidth.required("median")),
            spread: try number(try bandwidth.required("spread"), 0...5),
            least: try rate(try bandwidth.required("least")),
            most: try rate(try bandwidth.required("most"))
        )
        guard plan.bandwidth.least > 0, plan.bandwidth.least <= plan.bandwidth.most else {
            throw node.error("`least` is above 0 and not above `most`")
        }
        let systems = try map.required("systems").mapping(["count", "exponent", "subnets"])
        plan.systemCount = try systems.required("count").integer(1...20_000)
        plan.systemExponent =
            try systems["exponent"].map { node throws(TopologyError) in
                try number(node, 0...3)
            } ?? 1
        plan.subnetsPerSystem = try systems["subnets"]?.integer(1...64) ?? 4
        guard plan.systemCount * plan.subnetsPerSystem <= 25_000 else {
            throw node.error("more than 25,000 subnets of systems")
        }
        plan.familyShare = 0
        if let families = map["families"] {
            let values = try families.mapping(["share", "size"])
            plan.familyShare = try share(try values.required("share"))
            plan.familySize = try values.required("size").integer(2...1_000)
        }
        if let uptime = map["uptime"] {
            let values = try uptime.mapping(["mean", "shape", "down", "leaving"])
            plan.uptime = NetworkPlan.Uptime(
                mean: try seconds(try values.required("mean")),
                shape: try number(try values.required("shape"), 0.2...5),
                down: try seconds(try values.required("down")),
                leaving: try values["leaving"].map(share) ?? 0
            )
        }
    }

    private func clients(_ node: TopologyNode, _ plan: inout NetworkPlan) throws(TopologyError) {
        let map = try node.mapping(["count", "mode", "cells_per_second", "active", "guard_sample"])
        plan.clientCount = try map.required("count").integer(1...10_000_000)
        let mode = try map["mode"]?.choice(Topology.Mode.self) ?? .fast
        guard mode != .padded else {
            throw node.error("`padded` is not modelled: take `fast` or `mix`")
        }
        plan.load.isMix = mode == .mix
        plan.load.cellsPerSecond = try number(try map.required("cells_per_second"), 0.001...100_000)
        plan.load.activeShare = try map["active"].map(share) ?? (plan.load.isMix ? 1 : 0.1)
        guard plan.load.activeShare > 0 else { throw node.error("`active` is above 0") }
        plan.guardClientCount = try map["guard_sample"]?.integer(10...100_000) ?? 2_000
    }

    private func countries(_ node: TopologyNode) throws(TopologyError) -> [NetworkPlan.Country] {
        var countries: [NetworkPlan.Country] = []
        for (key, value) in try node.pairs() {
            guard let code = CountryCode(key) else {
                throw value.error("`\(key)` is not a country: two capital letters")
            }
            let map = try value.mapping(["relays", "clients", "at"])
            let at = try map.required("at").list(limit: 2)
            guard at.count == 2 else { throw value.error("`at` is degrees north and east") }
            countries.append(
                NetworkPlan.Country(
                    code: code,
                    relays: try number(try map.required("relays"), 0...1_000_000),
                    clients: try number(try map.required("clients"), 0...1_000_000),
                    latitude: try number(at[0], -90...90),
                    longitude: try number(at[1], -180...180)
                )
            )
        }
        guard (2...200).contains(countries.count) else {
            throw node.error("2 to 200 countries: guard and exit stand in different ones")
        }
        guard countries.contains(where: { $0.relays > 0 }),
            countries.contains(where: { $0.clients > 0 })
        else { throw node.error("nobody has relays, or nobody has clients") }
        return countries
    }

    // MARK: Values

    private func number(
        _ node: TopologyNode,
        _ range: ClosedRange<Double>
    ) throws(TopologyError) -> Double {
        try node.value("a number in \(range.lowerBound)...\(range.upperBound)") { text in
            Double(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    private func share(_ node: TopologyNode) throws(TopologyError) -> Double {
        try number(node, 0...1)
    }

    private func rate(_ node: TopologyNode) throws(TopologyError) -> Double {
        Double(try node.value("a rate such as 50mbit", LinkFaults.bitsPerSecond))
    }

    private func seconds(_ node: TopologyNode) throws(TopologyError) -> Double {
        try node.value("a time such as 20ms, 10s, 1h or 30d") { Self.seconds($0) }
    }

    /// Reads a number with one of the units us, ms, s, m, h, d; `nil` for anything else.
    static func seconds(_ text: String) -> Double? {
        let units: [(String, Double)] = [
            ("us", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400),
        ]
        for (unit, factor) in units where text.hasSuffix(unit) {
            if let value = Double(text.dropLast(unit.count)), value > 0, value < 1e9 {
                return value * factor
            }
        }
        return nil
    }
}
