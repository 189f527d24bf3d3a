import Foundation
import HostNetwork

/// Breaks a host's cable as asked, both ways, and mends it.
///
/// Loss is nftables' (`numgen random`) where frames arrive at either end, rate is a token bucket
/// on what either end sends; what the kernel cannot do here is done by ``DelayBridge``, which is
/// spliced into the cable in the core: port ⇄ process ⇄ a new pair that takes the port's place.
/// Segmentation offload is off while a cable has faults, so that a fault hits a datagram and not
/// a train of them.
struct Impairment {
    var folder: LabFolder

    /// Replaces the faults of the host at `index` by `faults`.
    ///
    /// - Throws: ``LabError``; the cable may then be half broken, and the next call mends it.
    func apply(
        _ faults: LinkFaults,
        toHostAt index: Int,
        of manifest: inout Manifest
    ) async throws(LabError) {
        do {
            try await clear(index, &manifest)
            guard faults != .none else { return }
            manifest.hosts[index].faults = faults
            try folder.save(manifest)
            let core = CommandRunner(namespace: manifest.core)
            let host = manifest.hosts[index]
            let inside = CommandRunner(namespace: host.namespace)
            let port = faults.needsBridge ? Self.outer(host) : host.port
            if faults.needsBridge { try await splice(index, &manifest) }
            for (runner, name) in [(inside, "eth0"), (core, port)] {
                try await offload(false, name, runner)
                try await limit(faults, name, runner)
                try await lose(faults, host, name, runner)
            }
        } catch let error as LabError {
            throw error
        } catch let error as HostNetworkError {
            throw LabError("cannot change the cable of \(manifest.hosts[index].name)", error)
        } catch {
            throw LabError("cannot change the cable", why: "\(error)")
        }
    }

    private func clear(_ index: Int, _ manifest: inout Manifest) async throws {
        let host = manifest.hosts[index]
        guard host.faults != .none else { return }
        let core = CommandRunner(namespace: manifest.core)
        let inside = CommandRunner(namespace: host.namespace)
        try await unsplice(index, &manifest)
        for (runner, name) in [(inside, "eth0"), (core, host.port)] {
            try await table(host).remove(with: runner)
            // Fails where there is no bucket, which is what is wanted.
            _ = try await runner.outcome(of: ["tc", "qdisc", "del", "dev", name, "root"])
            try await offload(true, name, runner)
        }
        manifest.hosts[index].faults = .none
        try folder.save(manifest)
    }

    // MARK: - Loss, rate, offload

    private func table(_ host: Manifest.Host) -> FirewallTable {
        FirewallTable(family: "netdev", name: "loss_\(host.name)")
    }

    private func lose(
        _ faults: LinkFaults,
        _ host: Manifest.Host,
        _ name: String,
        _ runner: CommandRunner
    ) async throws {
        guard faults.lossPerMyriad > 0 else { return }
        // nft refuses a comparison that is always true.
        let share = faults.lossPerMyriad
        let chance = share < 10_000 ? "numgen random mod 10000 < \(share)" : ""
        let body = """
            chain arrive { type filter hook ingress device "\(name)" priority 0; policy accept;
            meta protocol { ip, ip6 } \(chance) counter drop
            }
            """
        try await table(host).install(body: body, with: runner)
    }

    private func limit(_ faults: LinkFaults, _ name: String, _ runner: CommandRunner) async throws {
        guard faults.rateBitsPerSecond > 0 else { return }
        // A burst of 10 ms, at least two frames, so that slow and fast rates are both met.
        let burst = max(4_096, faults.rateBitsPerSecond / 800)
        try await runner.run(
            [
                "tc", "qdisc", "replace", "dev", name, "root", "tbf", "rate",
                "\(faults.rateBitsPerSecond)bit", "burst", "\(burst)", "latency", "50ms",
            ]
        )
    }

    private func offload(_ on: Bool, _ name: String, _ runner: CommandRunner) async throws {
        let value = on ? "on" : "off"
        let features = ["tx", "tso", "gso", "tx-udp-segmentation"].flatMap { [$0, value] }
        try await runner.run(["ethtool", "-K", name] + features)
    }

    // MARK: - The process in the cable

    /// The pair's end that takes the port's place.
    private static func outer(_ host: Manifest.Host) -> String { "q-\(host.name)" }
    /// The pair's end the process holds.
    private static func inner(_ host: Manifest.Host) -> String { "z-\(host.name)" }

    private func splice(_ index: Int, _ manifest: inout Manifest) async throws {
        let host = manifest.hosts[index]
        let core = CommandRunner(namespace: manifest.core)
        let (outer, inner) = (Self.outer(host), Self.inner(host))
        let address = try await core.run(["cat", "/sys/class/net/\(host.port)/address"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
        var pair = InterfacePlan()
        pair.addPair(outer, peer: inner)
        try await pair.apply(with: core)
        // The host knows the router by this address; only the outer end may answer to it now.
        try await core.run(["ip", "link", "set", outer, "address", address])
        try await core.run(
            ["sysctl", "-q", "-w"]
                + [host.port, inner].map { "net/ipv6/conf/\($0)/disable_ipv6=1" }
        )
        try await quiet(host).install(
            body: [host.port, inner].enumerated().map { index, name in
                "chain end\(index) { type filter hook ingress device \"\(name)\" priority 0;"
                    + " policy drop; }"
            }.joined(separator: "\n"),
            with: core
        )
        try await move(host, from: host.port, to: outer, core)
        try await core.run(["ip", "link", "set", inner, "up", "promisc", "on"])
        try await core.run(["ip", "link", "set", host.port, "promisc", "on"])
        let program = Manifest.Program(
            title: "delay",
            command: try core.command(for: try BridgeCommand.command(host, inner: inner)),
            log: "\(folder.host(host.name))/delay.log",
            socket: nil,
            port: nil,
            process: nil
        )
        manifest.hosts[index].delayBridge = program
        try folder.save(manifest)
        let process = try DetachedProcess.start(program.command, log: program.log)
        manifest.hosts[index].delayBridge?.process = process
        try folder.save(manifest)
    }

    private func unsplice(_ index: Int, _ manifest: inout Manifest) async throws {
        let host = manifest.hosts[index]
        let core = CommandRunner(namespace: manifest.core)
        await ProcessIdentity.end([host.delayBridge?.process].compactMap(\.self))
        let links = try await core.run(["ip", "-brief", "link"])
        if links.contains("\(Self.outer(host))@") {
            try await move(host, from: Self.outer(host), to: host.port, core)
            try await core.run(["ip", "link", "delete", Self.outer(host)])
            try await core.run(["ip", "link", "set", host.port, "promisc", "off"])
        }
        try await quiet(host).remove(with: core)
        manifest.hosts[index].delayBridge = nil
        try folder.save(manifest)
    }

    /// Keeps the kernel from answering frames the process is to carry.
    private func quiet(_ host: Manifest.Host) -> FirewallTable {
        FirewallTable(family: "netdev", name: "quiet_\(host.name)")
    }

    /// Lets `new` be the router's end of the cable instead of `old`.
    private func move(
        _ host: Manifest.Host,
        from old: String,
        to new: String,
        _ core: CommandRunner
    ) async throws {
        try await core.run(["sysctl", "-q", "-w", "net/ipv6/conf/\(new)/disable_ipv6=0"])
        try await core.run(["ip", "link", "set", new, "up"])
        if let bridge = host.bridge {
            try await core.run(["ip", "link", "set", old, "nomaster"])
            try await core.run(["ip", "link", "set", new, "master", bridge])
            return
        }
        try await core.run(["ip", "address", "flush", "dev", old, "scope", "global"])
        var plan = InterfacePlan()
        for gateway in host.gateways.compactMap({ IPPrefix($0) }) {
            plan.assign(gateway.address, prefixBitCount: gateway.bitCount, to: new)
        }
        try await plan.apply(with: core)
    }
}
