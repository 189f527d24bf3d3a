import Base
import Foundation
import HostNetwork

/// Lays a topology's namespaces, cables and addresses around one router, the core.
///
/// Every host has one interface, `eth0`; the core has its other end under the host's name. Hosts
/// that share a subnet meet on a bridge in the core; a host alone on its subnet is routed at once.
struct NetworkBuilder {
    var topology: Topology
    var folder: LabFolder

    /// The hosts as they will be, before anything is made.
    func plannedHosts() throws(LabError) -> [Manifest.Host] {
        var hosts: [Manifest.Host] = []
        for host in topology.hosts {
            guard let subnet = topology.subnet(of: host) else {
                throw LabError("host \(host.name) has no subnet", why: "the topology is unchecked")
            }
            let isShared = topology.hosts.filter { topology.subnet(of: $0) == subnet }.count > 1
            let used = subnet.networks.filter { network in
                host.addresses.contains { network.contains($0) }
            }
            hosts.append(
                Manifest.Host(
                    name: host.name,
                    role: host.role,
                    country: host.country,
                    isExit: host.exit != nil,
                    namespace: "\(folder.lab)-\(host.name)",
                    addresses: host.addresses.map(\.description),
                    port: host.name,
                    bridge: isShared ? "b-\(subnet.name)" : nil,
                    gateways: used.map {
                        "\(Topology.Subnet.gateway(of: $0))/\($0.familyPrefixBitCount)"
                    },
                    faults: .none,
                    programs: [],
                    delayBridge: nil
                )
            )
        }
        return hosts
    }

    /// Makes the namespaces, the core's side and then every host.
    func build(_ manifest: Manifest) async throws(LabError) {
        do {
            let names = manifest.namespaces.map { "netns add \($0)\n" }.joined()
            try await CommandRunner().run(["ip", "-batch", "-"], input: names)
            let core = CommandRunner(namespace: manifest.core)
            try await core.run(["sysctl", "-q", "-w"] + Self.routerSettings)
            try await corePlan(manifest).apply(with: core)
        } catch {
            throw LabError("cannot lay the core of lab `\(folder.lab)`", error)
        }
        for host in manifest.hosts {
            do {
                let runner = CommandRunner(namespace: host.namespace)
                try await runner.run(["sysctl", "-q", "-w"] + Self.hostSettings)
                try await hostPlan(host).apply(with: runner)
            } catch {
                throw LabError("cannot lay host \(host.name)", error)
            }
        }
    }

    private static let routerSettings = [
        "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
        "net.ipv6.conf.default.accept_dad=0",
    ]

    private static let hostSettings = [
        "net.ipv4.tcp_congestion_control=cubic", "net.ipv6.conf.default.accept_ra=0",
        "net.ipv6.conf.default.accept_dad=0",
    ]

    private func corePlan(_ manifest: Manifest) -> InterfacePlan {
        var plan = InterfacePlan()
        plan.raise("lo", mtu: 65_536)
        for subnet in topology.subnets {
            let bridge = "b-\(subnet.name)"
            guard manifest.hosts.contains(where: { $0.bridge == bridge }) else { continue }
            plan.addBridge(bridge)
            plan.raise(bridge, mtu: topology.mtu)
            for network in subnet.networks {
                plan.assign(
                    Topology.Subnet.gateway(of: network),
                    prefixBitCount: network.familyPrefixBitCount,
                    to: bridge
                )
            }
        }
        for host in manifest.hosts {
            plan.addPair(host.port, peer: "eth0", inNamespace: host.namespace)
            if let bridge = host.bridge { plan.plug(host.port, into: bridge) }
            plan.raise(host.port, mtu: topology.mtu)
            guard host.bridge == nil else { continue }
            for network in host.gateways.compactMap({ IPPrefix($0) }) {
                plan.assign(network.address, prefixBitCount: network.bitCount, to: host.port)
            }
        }
        return plan
    }

    private func hostPlan(_ host: Manifest.Host) -> InterfacePlan {
        var plan = InterfacePlan()
        plan.raise("lo", mtu: 65_536)
        plan.raise("eth0", mtu: topology.mtu)
        for text in host.addresses {
            guard let address = IPAddress(text),
                let gateway = host.gateways.compactMap({ IPPrefix($0) }).first(where: {
                    $0.address.isV4 == address.isV4
                })
            else { continue }
            plan.assign(address, prefixBitCount: gateway.bitCount, to: "eth0")
            let everything = IPNetwork(
                address.isV4 ? IPAddress(v4: 0) : IPAddress(high: 0, low: 0),
                prefixBitCount: address.isV4 ? 96 : 0
            )
            plan.route(everything, via: gateway.address)
        }
        return plan
    }

    /// What each host's resolver file says: clients ask in the tunnel, others the `internet` host.
    func writeResolverFiles(_ manifest: Manifest) throws(LabError) {
        let servers = manifest.hosts.first { $0.role == .internet }?.addresses ?? []
        let others = servers.map { "nameserver \($0)\n" }.joined()
        for host in manifest.hosts {
            let path = "/etc/netns/\(host.namespace)"
            let text = host.role == .client ? ResolverFile.tunnelText : others
            do {
                try FileManager.default.createDirectory(
                    atPath: path,
                    withIntermediateDirectories: true
                )
                try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/resolv.conf"))
            } catch {
                throw LabError("cannot write \(path)/resolv.conf", why: "\(error)")
            }
        }
    }

    /// Lets namespaces choose CUBIC: figures compare with other machines only under it.
    static func allowCubic() async throws(LabError) {
        do {
            let key = "net/ipv4/tcp_allowed_congestion_control"
            let allowed = try await KernelSettings.read(key, with: CommandRunner())
            guard !allowed.split(separator: " ").contains("cubic") else { return }
            try await LabFolder.machineSettings.apply(
                [key: "\(allowed) cubic"],
                with: CommandRunner()
            )
        } catch {
            throw LabError("cannot allow CUBIC in namespaces", error)
        }
    }
}

/// An address with the length of its network's prefix, as `192.0.2.1/24`.
struct IPPrefix: Hashable {
    var address: IPAddress
    var bitCount: Int

    init?(_ text: String) {
        let parts = text.split(separator: "/")
        guard parts.count == 2, let address = IPAddress(parts[0]), let count = Int(parts[1]) else {
            return nil
        }
        self.address = address
        bitCount = count
    }
}
