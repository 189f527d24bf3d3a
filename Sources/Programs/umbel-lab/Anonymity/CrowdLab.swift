import Anonymity
import Base
import Foundation
import HostNetwork
import Workloads

/// A crowd in a lab of real programs: traffic at every client, taps on every client's cable and
/// before the hosts behind the exits.
struct CrowdLab {
    let file: String
    let options: LabOptions
    let traffic: CrowdTraffic
    let mode: Topology.Mode
    let seconds: Int
    let progress: Progress

    /// The port the crowd's server listens on.
    private static let port: UInt16 = 8_080

    /// Builds the lab, watches it, takes it away, and attacks what was seen.
    ///
    /// - Throws: ``LabError`` where the lab is not built, or the crowd's connections all fail.
    func run() async throws -> ProcessResult {
        var lab = try MeasuredLab(
            file: file,
            options: options,
            suffix: "-crowd",
            progress: progress
        )
        lab.topology.mode = mode
        let clients = lab.topology.hosts.filter { $0.role == .client }
        guard clients.count >= traffic.clients else {
            throw LabError(
                "\(file) has \(clients.count) clients",
                why: "\(traffic.clients) were asked for",
                hint: "--clients \(clients.count)"
            )
        }
        let kept = Set(clients.prefix(traffic.clients).map(\.name))
        lab.topology.hosts.removeAll { $0.role == .client && !kept.contains($0.name) }
        let internet = try lab.host(.internet)
        guard let server = internet.addresses.first(where: \.isV4) else {
            throw LabError("\(internet.name) has no IPv4 address", why: "the crowd uses it")
        }
        return try await lab.run {
            try await watch(lab, internet: internet.name, server: server)
        }
    }

    private func watch(
        _ lab: MeasuredLab,
        internet: String,
        server: IPAddress
    ) async throws -> ProcessResult {
        let manifest = try lab.folder.existing()
        let clients = manifest.hosts.filter { $0.role == .client }
        let hosts = manifest.hosts[try manifest.index(of: internet)]
        var random = traffic.random(2)
        let transfers = traffic.transfers(seconds: Double(seconds), random: &random)
        let taps = try LinkTaps(
            clients.enumerated().map { ($1.namespace, .client($0)) }
                + [(hosts.namespace, .hosts(port: Self.port))] + Self.relayTaps(manifest)
        )
        // Whatever happens, threads that hold sockets in the lab end before it is taken away.
        let connections: CrowdConnections
        do {
            connections = try CrowdConnections(
                namespace: hosts.namespace,
                address: server,
                port: Self.port
            )
        } catch {
            _ = taps.stop()
            throw error
        }
        let start = CrowdConnections.now() + 0.5
        let paths: [CircuitPath]
        do {
            let relays = Self.relays(manifest)
            paths = try clients.map {
                try path(of: LabClient(lab: lab, name: $0.name), relays: relays)
            }
            for (number, client) in clients.enumerated() {
                try connections.begin(
                    client: number,
                    namespace: client.namespace,
                    transfers: transfers[number],
                    start: start,
                    end: start + Double(seconds)
                )
            }
            progress.say("\(clients.count) clients, \(seconds) s of \(traffic.title)")
            for second in 1...seconds {
                try await Task.sleep(for: .seconds(1))
                if second.isMultiple(of: 10) { progress.say("\(second) of \(seconds) s") }
            }
        } catch {
            _ = (connections.finish(), taps.stop())
            throw error
        }
        try await Task.sleep(for: .seconds(1))
        let memory = clients.compactMap { residentByteCount(of: $0) }
        let outcome = connections.finish()
        let harvest = taps.stop()
        if !memory.isEmpty {
            let together = memory.reduce(0, +)
            progress.say(
                "clients' daemons hold \((together / memory.count) >> 20) MiB in the mean, "
                    + "\(together >> 20) MiB together"
            )
        }
        progress.say(
            "\(harvest.recording.observations.count) datagrams and packets seen, "
                + "\(harvest.lostFrames + harvest.recording.droppedCount) missed, "
                + "\(outcome.failures) connections failed \(outcome.lastFailure)"
        )
        guard outcome.arrived > 0 else {
            throw LabError("nothing arrived at any client", why: outcome.lastFailure)
        }
        return result(harvest, outcome, paths)
    }

    private static func relays(_ manifest: Manifest) -> [Manifest.Host] {
        manifest.hosts.filter { $0.role == .relay }
    }

    private static func relayTaps(_ manifest: Manifest) -> [(String, LinkTaps.Tap)] {
        let relays = relays(manifest)
        var numbers: [IPAddress: Int] = [:]
        for (number, relay) in relays.enumerated() {
            for address in relay.addresses.compactMap(IPAddress.init) {
                numbers[address] = number
            }
        }
        return relays.enumerated().map { ($1.namespace, .relay($0, relays: numbers)) }
    }

    /// The path of a client's circuit in use, by numbers of relays; none of it where there is none.
    private func path(of client: LabClient, relays: [Manifest.Host]) throws -> CircuitPath {
        let hops = try client.circuits().first(where: \.isOfMachine)?.hops ?? []
        return CircuitPath(hops.map { hop in relays.firstIndex { $0.name == hop.nickname } ?? -1 })
    }

    /// What a host's daemon holds in memory, in bytes; `nil` where it is gone.
    private func residentByteCount(of host: Manifest.Host) -> Int? {
        guard let pid = host.programs.first?.process?.pid,
            let data = FileManager.default.contents(atPath: "/proc/\(pid)/statm")
        else { return nil }
        let fields = String(decoding: data, as: UTF8.self).split(separator: " ")
        return fields.count > 1 ? Int(fields[1]).map { $0 * 4_096 } : nil
    }

    private func result(
        _ harvest: LinkTaps.Harvest,
        _ outcome: CrowdConnections.Outcome,
        _ paths: [CircuitPath]
    ) -> ProcessResult {
        var owners: [Int: Int] = [:]
        for (key, flow) in harvest.flows { owners[flow] = outcome.clients[key] }
        func exits(_ direction: Direction) -> [FlowTrace] {
            harvest.recording.traces(direction, count: traffic.clients) {
                if case .exitSide(_, let flow) = $0 { owners[flow] } else { nil }
            }
        }
        func links(_ direction: Direction) -> [FlowTrace] {
            harvest.recording.traces(direction, count: traffic.clients) {
                if case .clientLink(let client) = $0 { client } else { nil }
            }
        }
        let (down, up) = (exits(.backward), exits(.forward))
        let (linkDown, linkUp) = (links(.backward), links(.forward))
        let wire = (linkDown + linkUp).reduce(0) { $0 + $1.times.count }
        let bytes = (down + up).reduce(0) { $0 + $1.volume }
        var cost = CostResult(
            throughputBitsPerSecond: Double(outcome.arrived * 8) / Double(traffic.clients)
                / Double(seconds),
            carriedShare: outcome.asked > 0 ? Double(outcome.arrived) / Double(outcome.asked) : 1,
            overhead: bytes > 0 ? Double(wire * CellLine().cellByteCount) / bytes : 0
        )
        let connects = outcome.connects.sorted()
        cost.idleDelayMedian = CostResult.percentile(0.5, of: connects)
        cost.idleDelayP95 = CostResult.percentile(0.95, of: connects)
        var result = ProcessResult(
            name: mode.rawValue,
            title: "\(mode.rawValue), the real programs in a lab",
            isOurs: true,
            source: "lab",
            clients: traffic.clients,
            seconds: Double(seconds),
            cost: cost
        )
        var random = traffic.random(4)
        result.attacks = RateExperiment(seconds: Double(seconds) + 1).attacks(
            exits: down,
            links: linkDown,
            random: &random
        )
        result.attacks += RateExperiment(seconds: Double(seconds) + 1).attacksBetween(
            exits: down,
            links: harvest.recording.middleLinks(of: paths, .backward),
            random: &random
        )
        result.volumeFactor = VolumeCount.uncertainty(exits: down, links: linkDown)
        // A cable of the lab adds nothing: what is between both ends is time in programs.
        let timing = TimingAttack(.exponential(mean: 0.001, hops: 2, base: 0)).scores(
            leaving: up.map(\.times),
            sent: linkUp.map(\.times),
            seconds: Double(seconds)
        )
        let packets = up.reduce(0) { $0 + $1.times.count } / max(1, up.count)
        result.attacks.append(
            RateExperiment.result(
                "timing",
                "\(packets) packets",
                timing,
                calibration: .likelihood,
                random: &random
            )
        )
        return result
    }
}
