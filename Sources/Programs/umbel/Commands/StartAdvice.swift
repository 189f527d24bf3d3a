import FoundationEssentials

/// How a daemon that is missing is started on this machine.
enum StartAdvice {
    /// The command that starts `unit`, such as `umbel-relay`, where a service manager runs and has it,
    /// else `command`.
    ///
    /// - Parameters:
    ///   - isUser: whether it is a unit of a user's own manager.
    ///   - root: the folder the machine's files are in.
    static func command(
        unit: String,
        isUser: Bool = false,
        else command: String,
        root: String = ""
    ) -> String {
        let files = FileManager.default
        let scope = isUser ? "user" : "system"
        let isManaged =
            files.fileExists(atPath: "\(root)/run/systemd/system")
            && ["etc", "usr/lib", "lib"].contains {
                files.fileExists(atPath: "\(root)/\($0)/systemd/\(scope)/\(unit).service")
            }
        return isManaged ? "systemctl \(isUser ? "--user " : "")start \(unit)" : command
    }
}
