import Base
import HostNetwork
import Logging
import NodeConfiguration

/// What of a machine that is up goes beside the tunnel: networks, names and programs.
///
/// The rules stand while the machine is up. Names are resolved by the machine's resolver, which then
/// is the tunnel's, once a minute; their addresses are good for ten.
actor SplitTunnel {
    private static let resolveInterval = Duration.seconds(60)
    private static let retryInterval = Duration.seconds(2)
    private static let addressSeconds = 600

    private let stateFolder: String
    private let names: [String]
    private let logger: Logger
    private let runner = CommandRunner()
    private var rules: SplitRules
    private var group: OutsideGroup?
    private var isUp = false
    /// The rules as the kernel lists them; `nil` while none are in place.
    private var standing: String?
    private var resolving: Task<Void, Never>?

    init(_ configuration: ClientConfiguration, logger: Logger) {
        stateFolder = configuration.stateFolder
        names = configuration.split.names
        rules = SplitRules(
            tunnel: configuration.tunnel.name,
            networks: configuration.split.networks
        )
        self.logger = logger
    }

    /// Puts the rules in place; what they do not let out stays in the tunnel.
    func begin() async throws(HostNetworkError) {
        isUp = true
        do throws(HostNetworkError) {
            try await apply()
        } catch {
            guard group != nil else { throw error }
            // A kernel that cannot match programs can still match networks.
            logger.warning("programs started beside the tunnel go through it: \(error)")
            rules.programs = nil
            try await applyRules()
        }
        resolveNames()
    }

    /// Looks whether others changed the rules, and puts them back; says whether it did.
    func mend() async throws(HostNetworkError) -> Bool {
        guard isUp, let standing,
            try await SplitRules.table.listing(with: runner) != standing
        else { return false }
        try await applyRules()
        resolveNames()
        return true
    }

    private func resolveNames() {
        guard !names.isEmpty else { return }
        resolving?.cancel()
        resolving = Task { [weak self] in
            while !Task.isCancelled {
                guard let isResolved = await self?.resolve() else { return }
                try? await Task.sleep(
                    for: isResolved ? Self.resolveInterval : Self.retryInterval
                )
            }
        }
    }

    /// Takes the rules away.
    func end() async throws(HostNetworkError) {
        isUp = false
        standing = nil
        resolving?.cancel()
        resolving = nil
        try await SplitRules.remove(with: runner)
    }

    /// Lets the process `pid`, and the children it will have, go beside the tunnel.
    func admit(_ pid: Int32) async throws(HostNetworkError) {
        if let group { return try group.admit(pid) }
        let made = try OutsideGroup(stateFolder: stateFolder)
        group = made
        do throws(HostNetworkError) {
            if isUp { try await apply() }
            try made.admit(pid)
        } catch {
            // A rule the kernel does not know must not keep the others from standing.
            group = nil
            rules.programs = nil
            throw error
        }
    }

    private func apply() async throws(HostNetworkError) {
        // A group of an earlier daemon's has programs in it, which this one is to know too.
        if group == nil { group = OutsideGroup.existing() }
        rules.programs = group?.match
        try await applyRules()
    }

    private func applyRules() async throws(HostNetworkError) {
        try await rules.apply(with: runner)
        standing = try await SplitRules.table.listing(with: runner)
    }

    /// Asks for all names; false where none has an address yet.
    private func resolve() async -> Bool {
        var found: [IPAddress] = []
        for name in names { found += await HostNames.addresses(of: name) }
        guard isUp, !found.isEmpty else { return false }
        do throws(HostNetworkError) {
            try await SplitRules.add(found, seconds: Self.addressSeconds, with: runner)
        } catch {
            logger.error("names beside the tunnel: \(error)")
        }
        return true
    }
}
