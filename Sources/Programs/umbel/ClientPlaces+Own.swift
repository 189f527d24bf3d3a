import FoundationEssentials
import Glibc
import HostNetwork
import NodeConfiguration

extension ClientPlaces {
    /// Where a daemon that this process becomes has its files: the system's where it can serve the
    /// machine, else this user's.
    static var own: Self {
        geteuid() == 0 || ProcessRights.isNetworkAdministrator
            ? .system : Self(ofUser: ProcessInfo.processInfo.environment)
    }

    /// Where the daemon is that this user means: the user's own where there is one, running or
    /// configured, else the system's.
    static var asked: Self {
        guard geteuid() != 0 else { return .system }
        let user = Self(ofUser: ProcessInfo.processInfo.environment)
        let files = FileManager.default
        if files.fileExists(atPath: user.socket) { return user }
        let isSystem = files.fileExists(atPath: Self.system.socket)
        return !isSystem && files.fileExists(atPath: user.configuration) ? user : .system
    }

    /// The command that starts a daemon with these files.
    var start: String {
        self == .system
            ? StartAdvice.command(
                unit: DaemonStart.unit,
                else: "umbel daemon --config \(configuration)"
            )
            : StartAdvice.command(unit: "umbel", isUser: true, else: "umbel daemon")
    }
}
