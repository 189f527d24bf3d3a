import Foundation

/// Everything a lab made on this machine: what `down` takes away, and nothing else.
///
/// Kept as JSON in the lab's folder. A name is written down before the thing is made; a process
/// that starts between two writes is still found, for it lives in one of the namespaces.
struct Manifest: Codable, Sendable {
    /// How far the lab has come.
    enum Phase: String, Codable, Sendable {
        case building, ready, failed
    }

    /// One program of a host, running or not.
    struct Program: Codable, Hashable, Sendable {
        /// What it is, such as `relay` or `iperf3-5201`.
        var title: String
        /// The whole argument vector, `ip netns exec` included.
        var command: [String]
        /// Where its output goes.
        var log: String
        /// Its control socket, where it has one.
        var socket: String?
        /// The TCP or UDP port it listens on, where that says it is ready.
        var port: UInt16?
        /// The running process; `nil` before the first start.
        var process: ProcessIdentity?
    }

    /// One host as built.
    struct Host: Codable, Hashable, Sendable {
        var name: String
        var role: Topology.Role
        var country: String?
        var isExit: Bool
        var namespace: String
        var addresses: [String]
        /// The router's end of its cable, in the core namespace.
        var port: String
        /// The bridge of its subnet in the core; `nil` where it is alone on its subnet.
        var bridge: String?
        /// The router's addresses on that subnet, with prefix length.
        var gateways: [String]
        var faults: LinkFaults
        var programs: [Program]
        /// The delay bridge on its cable, while there is one.
        var delayBridge: Program?
    }

    /// Raised where a field changes its meaning.
    var schema = 1
    var lab: String
    /// The topology file, as an absolute path.
    var topology: String
    var mode: Topology.Mode
    var phase = Phase.building
    /// The kernel's identity of this boot: processes of another boot are not ours.
    var boot: String
    /// The `umbel` program the daemons run, where any do.
    var umbel: String?
    /// Every namespace of the lab, the core first.
    var namespaces: [String] = []
    /// Folders made under /etc/netns.
    var resolverFolders: [String] = []
    var hosts: [Host] = []

    /// The core's namespace, which holds the router.
    var core: String { "\(lab)-core" }

    /// The position of the host `name`.
    ///
    /// - Throws: ``LabError`` naming the hosts there are.
    func index(of name: String) throws(LabError) -> Int {
        if let index = hosts.firstIndex(where: { $0.name == name }) { return index }
        throw LabError(
            "no host `\(name)` in lab `\(lab)`",
            why: "there are \(hosts.map(\.name).joined(separator: ", "))"
        )
    }

    /// This boot's identity.
    static func currentBoot() -> String {
        let data = FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id")
        return data.map { String(decoding: $0, as: UTF8.self) }?
            .trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
    }
}
