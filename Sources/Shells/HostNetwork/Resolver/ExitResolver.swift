public import Base
import Foundation

/// The resolver an exit runs for its clients: unbound or dnsmasq, as a program of its own.
///
/// A value: what it is told, and how it is started. It answers on addresses of the lease pools, which
/// only the tunnel and this machine reach (``ExitRules``), with one cache for all clients, so that
/// what the world's servers see is the exit's questions and nobody's in particular. Which addresses
/// clients then reach, the exit decides at each packet and not here (test matrix row 48).
public struct ExitResolver: Hashable, Sendable {
    /// A program that resolves names.
    public enum Program: String, CaseIterable, Sendable {
        /// Asks the world's servers itself, or forwards.
        case unbound
        /// Forwards to other resolvers, and keeps their answers.
        case dnsmasq
    }

    /// The port it answers on, one that needs no rights; clients ask port 53, which is translated.
    public static let port: UInt16 = 1_053

    /// Which program it is.
    public var program: Program
    /// Where it answers: an address of each family served.
    public var addresses: [IPAddress]
    /// Who may ask.
    public var clients: [IPNetwork]
    /// The resolvers it asks in turn; empty for the world's servers (unbound) or this machine's
    /// resolvers (dnsmasq).
    public var upstreams: [IPAddress]
    /// Networks it asks no server in, so that nobody's zone sends its questions into this machine's
    /// neighbourhood; only unbound follows such zones.
    public var avoided: [IPNetwork]

    /// The longest an answer is kept, in seconds: what is in the cache tells what others asked.
    private static let cacheSeconds = 3_600
    private static let negativeSeconds = 300

    /// Puts a resolver together.
    ///
    /// - Parameter allowed: networks that are reserved, but open at this exit.
    public init(
        _ program: Program,
        addresses: [IPAddress],
        clients: [IPNetwork],
        upstreams: [IPAddress],
        allowed: [IPNetwork]
    ) {
        self.program = program
        self.addresses = addresses
        self.clients = clients
        self.upstreams = upstreams
        avoided = (ReservedNetworks.v4 + ReservedNetworks.v6).compactMap { IPNetwork($0) }
            .filter { network in
                !allowed.contains { network.contains($0.base) || $0.contains(network.base) }
                    && !upstreams.contains { network.contains($0) }
            }
    }

    /// The program to use, of those this machine has; the first of them that is wanted.
    ///
    /// - Throws: ``HostNetworkError`` where there is none.
    public static func installed(
        _ wanted: [Program] = Program.allCases
    ) throws(HostNetworkError) -> Program {
        for program in wanted {
            do throws(HostNetworkError) {
                _ = try CommandRunner.locate(program.rawValue)
                return program
            } catch {
                continue
            }
        }
        let names = wanted.map(\.rawValue).joined(separator: " nor ")
        throw HostNetworkError(
            what: "there is no program to resolve names for the exit's clients",
            why: "neither PATH nor /usr/sbin has \(names)",
            hint: wanted.contains(.unbound)
                ? "apt-get install unbound, or name a resolver's address in `resolver`"
                : "apt-get install dnsmasq-base, or name a resolver's address in `resolver`"
        )
    }

    /// How it is started; its configuration goes to its standard input.
    ///
    /// - Throws: ``HostNetworkError`` where the program is missing.
    public func command() throws(HostNetworkError) -> [String] {
        let path = try CommandRunner.locate(program.rawValue)
        switch program {
        case .unbound: return [path, "-dd", "-c", "/dev/stdin"]
        case .dnsmasq: return [path, "--conf-file=-"]
        }
    }

    /// What it is told.
    public var configuration: String {
        let lines =
            switch program {
            case .unbound: unboundLines
            case .dnsmasq: dnsmasqLines
            }
        return lines.joined(separator: "\n") + "\n"
    }

    private var servesV6: Bool { addresses.contains { !$0.isV4 } }

    private var unboundLines: [String] {
        let key = "/usr/share/dns/root.key"
        // With servers of its own choice, it checks what they say as far as zones are signed.
        let validates = upstreams.isEmpty && FileManager.default.fileExists(atPath: key)
        var lines = [
            "server:", "  username: \"\"", "  chroot: \"\"", "  directory: \"\"",
            "  pidfile: \"\"", "  use-syslog: no", "  logfile: \"\"", "  verbosity: 0",
            "  do-daemonize: no", "  num-threads: 1", "  port: \(Self.port)",
            "  do-ip6: \(servesV6 ? "yes" : "no")", "  outgoing-range: 1024",
            "  num-queries-per-thread: 1024", "  msg-cache-size: 16m", "  rrset-cache-size: 32m",
            "  key-cache-size: 4m", "  neg-cache-size: 2m", "  cache-max-ttl: \(Self.cacheSeconds)",
            "  cache-max-negative-ttl: \(Self.negativeSeconds)", "  serve-expired: yes",
            "  serve-expired-ttl: \(Self.cacheSeconds)", "  serve-expired-client-timeout: 1800",
            "  edns-buffer-size: 1232", "  qname-minimisation: yes", "  use-caps-for-id: yes",
            "  hide-identity: yes", "  hide-version: yes", "  minimal-responses: yes",
            "  do-not-query-localhost: \(upstreams.contains { $0.isLoopback } ? "no" : "yes")",
            "  module-config: \"\(validates ? "validator " : "")iterator\"",
            "  local-zone: \"\(ResolverQuestion.name).\" redirect",
            "  local-data: \"\(ResolverQuestion.name). A 127.0.0.1\"",
        ]
        if validates { lines.append("  trust-anchor-file: \"\(key)\"") }
        // What it would answer itself (RFC 6761), named servers answer: they may be a network's own.
        if !upstreams.isEmpty { lines.append("  local-zone: \"test.\" nodefault") }
        lines += addresses.map { "  interface: \($0)" }
        lines += clients.map { "  access-control: \($0) allow" }
        lines += avoided.map { "  do-not-query-address: \($0)" }
        lines += ["remote-control:", "  control-enable: no"]
        guard !upstreams.isEmpty else { return lines }
        return lines + ["forward-zone:", "  name: \".\""]
            + upstreams.map { "  forward-addr: \($0)" }
    }

    private var dnsmasqLines: [String] {
        let servers =
            upstreams.isEmpty
            ? ["resolv-file=/etc/resolv.conf"] : ["no-resolv"] + upstreams.map { "server=\($0)" }
        return [
            "keep-in-foreground", "log-facility=-", "pid-file=", "no-hosts", "port=\(Self.port)",
            "bind-interfaces", "domain-needed", "cache-size=10000", "dns-forward-max=1000",
            "max-cache-ttl=\(Self.cacheSeconds)", "max-ttl=\(Self.cacheSeconds)",
            "edns-packet-max=1232",
            "address=/\(ResolverQuestion.name)/127.0.0.1",
        ] + addresses.map { "listen-address=\($0)" } + servers
    }
}

extension IPAddress {
    /// Whether it is of this machine's loopback.
    fileprivate var isLoopback: Bool {
        v4.map { $0 >> 24 == 127 } ?? (high == 0 && low == 1)
    }
}
