public import Base
import Foundation

/// How this machine resolves names, pointed into the tunnel and later put back as it was found.
///
/// Which program owns `/etc/resolv.conf` decides how: systemd-resolved is told of the tunnel's
/// resolver, resolvconf too; NetworkManager is told to leave the file alone; then, and where nobody
/// owns it, the file itself is written. What was done is remembered before it is done, so that
/// whoever runs later can undo it.
public struct MachineResolver: Hashable, Sendable {
    /// Who owns the resolver's file.
    public enum Owner: String, Codable, CaseIterable, Sendable {
        /// systemd-resolved, told by `resolvectl`.
        case resolved
        /// NetworkManager, told by a file of its own and `nmcli`.
        case networkManager
        /// resolvconf or openresolv.
        case resolvconf
        /// Nobody, or a program that writes it once.
        case nobody
    }

    /// The file, with what stood there.
    public var file: ResolverFile
    /// The TUN device.
    public var tunnel: String
    /// Where programs keep what lasts until the next start of the machine: /run.
    public var runtimeFolder: String
    /// Where `resolvectl`, `nmcli` and `resolvconf` are; `nil` for where programs usually are.
    public var programFolder: String?
    /// Remembers who was told.
    public var recordPath: String
    /// Where programs are run.
    public var runner: CommandRunner

    /// Makes the resolver of this machine, remembered in `stateFolder`.
    public init(
        path: String = "/etc/resolv.conf",
        stateFolder: String,
        tunnel: String,
        runtimeFolder: String = "/run",
        programFolder: String? = nil,
        runner: CommandRunner = CommandRunner()
    ) {
        file = ResolverFile(path: path, stateFolder: stateFolder)
        self.tunnel = tunnel
        self.runtimeFolder = runtimeFolder
        self.programFolder = programFolder
        self.runner = runner
        recordPath = "\(stateFolder)/resolver.owner"
    }

    /// Points names into the tunnel, whose interface must exist; safe to repeat.
    ///
    /// Where the owner refuses, the file is written as if it had none.
    /// - Throws: ``HostNetworkError`` where the file cannot be written either.
    public func apply() async throws(HostNetworkError) {
        let owner: Owner
        if let told = told() { owner = told } else { owner = await self.owner() }
        try remember(owner)
        do throws(HostNetworkError) {
            try await tell(owner)
        } catch {
            guard owner != .nobody else { throw error }
            try? await untell(owner)
            try remember(.nobody)
            try file.apply()
        }
    }

    /// Puts back what was found; nothing remembered is no error.
    ///
    /// - Throws: ``HostNetworkError`` where that fails; what is remembered then stays.
    public func restore() async throws(HostNetworkError) {
        let owner = told() ?? .nobody
        try file.restore()
        try await untell(owner)
        do {
            guard FileManager.default.fileExists(atPath: recordPath) else { return }
            try FileManager.default.removeItem(atPath: recordPath)
        } catch {
            throw HostNetworkError(what: "cannot remove \(recordPath)", why: "\(error)")
        }
    }

    /// Whether names still lead into the tunnel, as far as that can be seen without asking anybody.
    public func isInPlace() -> Bool {
        switch told() {
        case nil, .resolved, .resolvconf: true
        case .networkManager, .nobody:
            FileManager.default.contents(atPath: file.path) == Data(ResolverFile.tunnelText.utf8)
        }
    }

    /// The servers this machine asked before, those on other machines only.
    public func servers() -> [IPAddress] {
        let texts = [
            file.originalText(), text("\(runtimeFolder)/systemd/resolve/resolv.conf"),
            text("\(runtimeFolder)/NetworkManager/no-stub-resolv.conf"),
        ]
        let found = texts.compactMap(\.self).map { text in
            text.split(separator: "\n").compactMap { line -> IPAddress? in
                let words = line.split(whereSeparator: \.isWhitespace)
                guard words.count > 1, words[0] == "nameserver" else { return nil }
                return IPAddress(words[1])
            }
            .filter { !Self.isLoopback($0) && !Self.isOfTunnel($0) }
        }
        return found.first { !$0.isEmpty } ?? []
    }

    // MARK: Owners

    /// Who owns the file now.
    public func owner() async -> Owner {
        let link = try? FileManager.default.destinationOfSymbolicLink(atPath: file.path)
        let contents = text(file.path) ?? ""
        let asksResolved =
            link?.contains("systemd/resolve/") == true || contents.contains("nameserver 127.0.0.53")
        if asksResolved, await works(["resolvectl", "--no-pager", "dns"]) { return .resolved }
        let isOfManager =
            link?.contains("NetworkManager/") == true
            || contents.contains("Generated by NetworkManager")
        if isOfManager, await works(["nmcli", "--terse", "general", "status"]) {
            return .networkManager
        }
        let isOfResolvconf =
            link?.contains("resolvconf/") == true || contents.contains("by resolvconf")
        if isOfResolvconf, (try? program("resolvconf")) != nil { return .resolvconf }
        return .nobody
    }

    private func tell(_ owner: Owner) async throws(HostNetworkError) {
        switch owner {
        case .resolved:
            let servers = [TunnelAddresses.resolverV4, TunnelAddresses.resolverV6].map { "\($0)" }
            try await run(["resolvectl", "dns", tunnel] + servers)
            // All names, before every other interface's servers.
            try await run(["resolvectl", "domain", tunnel, "~."])
            try await run(["resolvectl", "default-route", tunnel, "yes"])
        case .networkManager:
            try write("[main]\ndns=none\nrc-manager=unmanaged\n", to: managerFile)
            try await run(["nmcli", "general", "reload", "conf"])
            try file.apply()
        case .resolvconf:
            // openresolv can be told that nobody else counts; the other one goes by names.
            let isOpen = try await isOpenResolvconf()
            let arguments = isOpen ? ["-m", "0", "-x"] : []
            let lines = ResolverFile.tunnelText.split(separator: "\n").dropFirst()
            try await run(
                ["resolvconf", "-a", interfaceName] + arguments,
                input: lines.joined(separator: "\n") + "\n"
            )
        case .nobody:
            try file.apply()
        }
    }

    private func untell(_ owner: Owner) async throws(HostNetworkError) {
        switch owner {
        case .resolved:
            // It forgets an interface that is gone by itself.
            let links = try await runner.outcome(of: ["ip", "link", "show", "dev", tunnel])
            if links.status == 0 { try await run(["resolvectl", "revert", tunnel]) }
        case .networkManager:
            guard FileManager.default.fileExists(atPath: managerFile) else { return }
            do {
                try FileManager.default.removeItem(atPath: managerFile)
            } catch {
                throw HostNetworkError(what: "cannot remove \(managerFile)", why: "\(error)")
            }
            try await run(["nmcli", "general", "reload", "conf"])
        case .resolvconf:
            try await run(["resolvconf", "-d", interfaceName])
        case .nobody:
            break
        }
    }

    /// The name resolvconf knows the tunnel by: those that begin so come before others.
    private var interfaceName: String { "tun.\(tunnel)" }

    private var managerFile: String { "\(runtimeFolder)/NetworkManager/conf.d/90-umbel.conf" }

    private func isOpenResolvconf() async throws(HostNetworkError) -> Bool {
        let version = try await runner.outcome(of: [try program("resolvconf"), "--version"])
        return version.output.contains("openresolv")
    }

    private func program(_ name: String) throws(HostNetworkError) -> String {
        try CommandRunner.locate(programFolder.map { "\($0)/\(name)" } ?? name)
    }

    private func works(_ argv: [String]) async -> Bool {
        guard let program = try? program(argv[0]) else { return false }
        let outcome = try? await runner.outcome(
            of: [program] + argv.dropFirst(),
            timeout: .seconds(15)
        )
        return outcome?.status == 0
    }

    private func run(_ argv: [String], input: String = "") async throws(HostNetworkError) {
        try await runner.run([try program(argv[0])] + argv.dropFirst(), input: input)
    }

    // MARK: Files

    private func told() -> Owner? {
        text(recordPath).flatMap { text in
            text.split(separator: "\n").first.flatMap { Owner(rawValue: String($0)) }
        }
    }

    private func remember(_ owner: Owner) throws(HostNetworkError) {
        try write("\(owner.rawValue)\n", to: recordPath)
    }

    private func write(_ text: String, to path: String) throws(HostNetworkError) {
        do {
            let file = URL(fileURLWithPath: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: file, options: .atomic)
        } catch {
            throw HostNetworkError(what: "cannot write \(path)", why: "\(error)")
        }
    }

    private func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func isLoopback(_ address: IPAddress) -> Bool {
        address.v4.map { $0 >> 24 == 127 } ?? (address == IPAddress(high: 0, low: 1))
    }

    private static func isOfTunnel(_ address: IPAddress) -> Bool {
        address == TunnelAddresses.resolverV4 || address == TunnelAddresses.resolverV6
    }
}
