/// Where a client's files are unless its configuration says otherwise: those of the system, or a user's
/// own by the XDG base directory specification.
public struct ClientPlaces: Hashable, Sendable {
    /// The configuration.
    public var configuration: String
    /// Folder of the state.
    public var stateFolder: String
    /// The socket on which the daemon answers.
    public var socket: String

    /// Those of a daemon that serves the whole machine.
    public static let system = Self(
        configuration: "/etc/umbel/client.toml",
        stateFolder: "/var/lib/umbel/client",
        socket: ClientConfiguration.defaultSocket
    )

    private init(configuration: String, stateFolder: String, socket: String) {
        self.configuration = configuration
        self.stateFolder = stateFolder
        self.socket = socket
    }

    /// Those of a daemon that serves one user, as `environment` names that user's folders.
    ///
    /// Where there is no folder for what lives as long as a session, the socket is beside the state.
    public init(ofUser environment: [String: String]) {
        // By the specification a path that is not absolute counts as none.
        func folder(_ variable: String) -> String? {
            environment[variable].flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        let home = folder("HOME") ?? ""
        let state = (folder("XDG_STATE_HOME") ?? "\(home)/.local/state") + "/umbel"
        let configuration = (folder("XDG_CONFIG_HOME") ?? "\(home)/.config") + "/umbel/client.toml"
        let socket = (folder("XDG_RUNTIME_DIR").map { "\($0)/umbel" } ?? state) + "/control.sock"
        self.init(configuration: configuration, stateFolder: state, socket: socket)
    }
}
