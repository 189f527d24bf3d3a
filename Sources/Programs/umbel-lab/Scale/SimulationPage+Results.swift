import Base
import FlowModel
import Foundation
import Simulation
import Wire

extension SimulationPage {
    /// What the flow model says of a large network.
    init(
        file: String,
        seed: UInt64,
        plan: NetworkPlan,
        result: FlowResult,
        year: GuardYear
    ) {
        let load = plan.load
        title =
            "\(plan.relayCount) relays, \(plan.clientCount) clients in "
            + "\(load.isMix ? "mix" : "fast"), \(Int(plan.duration)) s: \(file)"
        let perHour = 3_600 / max(1, result.online)
        facts = [
            ("engine", "flow model: circuits as flows, production path selection"),
            ("seed", "\(seed)"), ("hash", result.hash.description),
        ]
        add("cell hops", result.cellHops)
        add("cells carried of those wanted", result.cellHops / 3 / max(1, result.wantedCells))
        add("datagrams on all links", result.datagrams)
        let packets = result.cellHops / max(1, result.datagrams)
        add("of those, beside packets: handshakes, pay, PINGs", 1 - packets)
        add("circuits used", Double(result.circuitCount))
        add("circuits to stand ready", Double(result.spareCount))
        add("circuits that grew old, whose spare took over", Double(result.rotatedCount))
        add("links made between nodes", Double(result.newLinkCount))
        add("handshakes of circuits a second", Double(result.handshakeCount) / plan.duration)
        add("relays up, share of time", result.availability)
        add("circuits broken a client and hour", Double(result.brokenCount) * perHour)
        let broken = Double(max(1, result.brokenCount))
        add("of those, a spare took over", Double(result.takenOverCount) / broken)
        add(
            "builds that met a dead relay, a client and hour",
            Double(result.failedBuilds) * perHour
        )
        add("seconds without a circuit, a client and hour", result.outage * perHour)
        addDirectory(result.directory)
        add("guards a client uses in a year", year.usedGuards)
        addLoads(plan, result)
        addBuilds(result)
        if let money = result.money { addMoney(plan, money) }
        addGuards(year)
    }

    private static let shareNames = Spread.marks.map { "\(short($0 * 100)) %" }

    private mutating func add(_ name: String, _ value: Double) {
        facts.append((name, Self.short(value)))
    }

    private mutating func addLoads(_ plan: NetworkPlan, _ result: FlowResult) {
        sections.append(
            Section(
                title: "Share of relays' lines in use, over all relays",
                columns: ["mean"] + Self.shareNames,
                rows: [
                    [Spread(result.utilization).mean] + Spread(result.utilization).shares,
                    [Spread(result.peak).mean] + Spread(result.peak).shares,
                ],
                labels: ["over the run", "asked for, at most"]
            )
        )
        // Relays by weight, in twentieths.
        let order = result.expectedShare.indices.sorted {
            (result.expectedShare[$0].mean, $0) < (result.expectedShare[$1].mean, $1)
        }
        let carried = result.carriedShare
        let groups = min(20, order.count)
        let rows = (0..<groups).map { group -> [Double] in
            let members = order[order.count * group / groups..<order.count * (group + 1) / groups]
            return [
                members.reduce(0) { $0 + result.expectedShare[$1].mean },
                members.reduce(0) { $0 + carried[$1].mean },
            ]
        }
        sections.append(
            Section(
                title: "Load against weights: relays by weight, in groups of a twentieth",
                columns: ["share by weight", "share carried"],
                rows: rows,
                labels: (0..<groups).map { "\($0 + 1)" },
                plot: .bars
            )
        )
    }

    private mutating func addBuilds(_ result: FlowResult) {
        let marks = [0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
        let row = { (times: Histogram) in
            [times.mean * 1_000] + marks.map { times.value(at: $0) * 1_000 }
        }
        sections.append(
            Section(
                title: "Time to build a circuit, ms",
                columns: ["mean"] + marks.map { "\(Self.short($0 * 100)) %" },
                rows: [row(result.builds), row(result.warmBuilds)],
                labels: ["all", "over standing links"]
            )
        )
        sections.append(
            Section(
                title: "Share of circuits built within so many ms",
                columns: ["ms", "all", "over standing links"],
                rows: (0...100).map { percent in
                    let time = result.builds.value(at: 0.995) * Double(percent) / 100
                    let share = { (times: Histogram) in
                        Double((0...200).count { times.value(at: Double($0) / 200) <= time }) / 201
                    }
                    return [time * 1_000, share(result.builds), share(result.warmBuilds)]
                },
                plot: .lines
            )
        )
    }

    private mutating func addMoney(_ plan: NetworkPlan, _ money: MoneyFigures) {
        let orders = Double(money.orders) / plan.duration
        let issued = Double(money.issuedCount) / plan.duration
        let day = Double(money.openedCount) * 86_400 / plan.duration
        add("orders a second at each mint", orders)
        let urgent = Double(money.urgentOrders) / Double(max(1, money.orders))
        add("of those, a circuit waits for", urgent)
        add("vouchers signed a second by each mint", issued)
        add("cores a mint signs with (469 us each)", issued * 469e-6)
        add("deposits a day at each mint", day)
        add("ticks earned by relays", money.earnedTicks.reduce(0, +))
        add("ticks of opened vouchers left over", money.strandedTicks)
        add("ticks signed", money.issuedTicks)
        let earned = Spread(money.earnedTicks)
        let spent = Spread(money.spentTicks.map(Double.init))
        sections.append(
            Section(
                title: "Ticks, a relay and a client",
                columns: ["mean"] + Self.shareNames,
                rows: [[earned.mean] + earned.shares, [spent.mean] + spent.shares],
                labels: ["earned, a relay", "spent, a client"]
            )
        )
        let sorted = money.earnedTicks.sorted(by: >)
        let whole = max(1, sorted.reduce(0, +))
        var sum = 0.0
        var rows: [[Double]] = [[0, 0]]
        for (index, ticks) in sorted.enumerated() {
            sum += ticks
            if (index + 1) * 50 / sorted.count > index * 50 / sorted.count {
                rows.append([Double(index + 1) / Double(sorted.count), sum / whole])
            }
        }
        sections.append(
            Section(
                title: "Share of all ticks the relays that earn most have",
                columns: ["share of relays", "share of ticks"],
                rows: rows,
                plot: .lines
            )
        )
        sections.append(
            Section(
                title: "Vouchers by kind",
                columns: ["signed", "opened"],
                rows: [2, 0, 1, 3].map { [Double(money.issued[$0]), Double(money.opened[$0])] },
                labels: ["16 ticks", "64 ticks", "1,024 ticks", "8,192 ticks"],
                plot: .bars
            )
        )
    }

    private mutating func addGuards(_ year: GuardYear) {
        sections.append(
            Section(
                title: "Clients that used an adversary's guard in a year, of \(year.clientCount)",
                columns: [
                    "guards' weight", "exits' weight", "first day", "after a year", "from", "to",
                    "days of all", "both ends",
                ],
                rows: year.outcomes.map {
                    [
                        $0.guardShare, $0.exitShare, $0.compromised.first ?? 0,
                        $0.compromised.last ?? 0, $0.interval.lowerBound, $0.interval.upperBound,
                        $0.exposure, $0.bothEnds,
                    ]
                },
                labels: year.outcomes.map { "\(Self.short($0.wantedShare * 100)) %" }
            )
        )
        sections.append(
            Section(
                title: "Share of clients that have used an adversary's guard, by day",
                columns: ["day"] + year.outcomes.map { "\(Self.short($0.wantedShare * 100)) %" },
                rows: stride(from: 0, to: GuardYear.dayCount, by: 7).map { day in
                    [Double(day)] + year.outcomes.map { $0.compromised[day] }
                },
                plot: .lines
            )
        )
    }

    /// What the cores and the flow model say of a network.
    init(file: String, seed: UInt64, level: CellLevel) {
        let clients = level.runs.reduce(0) { $0 + $1.clientCount }
        title = "\(level.shares.count) relays, \(clients) clients on the production cores: \(file)"
        facts = [
            ("engine", "production cores, and the flow model beside them"),
            ("seed", "\(seed)"),
            ("hash", level.hash.description),
        ]
        addCores(level)
        addDirectory(level.sample.directory)
    }

    /// Adds what the same network, made smaller, came to on both.
    mutating func add(_ level: CellLevel) {
        let clients = level.runs.reduce(0) { $0 + $1.clientCount }
        facts.append(
            ("a part of it on the cores", "\(level.shares.count) relays, \(clients) clients")
        )
        addCores(level)
    }

    /// Adds what that came to on both with relays that come and go.
    mutating func addChurn(_ level: CellLevel, uptime: NetworkPlan.Uptime) {
        facts.append(
            (
                "the part again, with relays that come and go",
                "up \(Int(uptime.mean)) s in the mean, down \(Int(uptime.down)) s"
            )
        )
        addFigures(level, title: "Cores and flow model where relays come and go, of one client")
    }

    private mutating func addCores(_ level: CellLevel) {
        add("worlds on the cores", Double(level.runs.count))
        add("virtual seconds", level.runs.reduce(0) { $0 + $1.report.elapsed.seconds })
        add("events", Double(level.runs.reduce(0) { $0 + $1.report.events }))
        add("datagrams", Double(level.runs.reduce(0) { $0 + $1.report.datagrams }))
        add("packets answered, share", level.runs.map(\.answeredShare).min() ?? 0)
        let violations = level.runs.flatMap(\.violations)
        facts.append(("invariants broken", "\(violations.count)"))
        if let first = violations.first { facts.append(("the first of them", first)) }
        add("largest difference of a relay's share", level.largestShareError)
        add("that in standard deviations", level.largestShareSigma)
        addFigures(level, title: "Cores and flow model, each of one client")
        guard level.shares.count <= 100 else { return }
        sections.append(
            Section(
                title: "Share of all cells, by relay",
                columns: ["cores", "flow model"],
                rows: level.shares.map { [$0.cells, $0.flows] },
                labels: level.shares.indices.map { "relay \($0 + 1)" },
                plot: .bars
            )
        )
    }

    private mutating func addFigures(_ level: CellLevel, title: String) {
        sections.append(
            Section(
                title: title,
                columns: ["cores", "flow model", "error, %", "chance, %"],
                rows: level.figures.map {
                    [$0.cells, $0.flows, $0.error * 100, $0.chance * 100]
                },
                labels: level.figures.map(\.name)
            )
        )
    }

    private mutating func addDirectory(_ directory: DirectoryFigures) {
        add("directory, bytes", Double(directory.documentByteCount))
        add("its change, bytes", Double(directory.diffByteCount))
        add("records in a change", Double(directory.changedRecordCount))
        add("relays a change takes off", Double(directory.goneCount))
        add("directory bytes a day and node, the first", directory.firstDayByteCount)
        add("directory bytes a day and node, then", directory.dayByteCount)
    }
}
