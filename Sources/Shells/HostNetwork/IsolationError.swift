import CLinux
import Glibc

/// Why a command did not come to run in namespaces of its own.
public struct IsolationError: Error, Hashable, Sendable {
    /// What a starting process does, in order.
    public enum Step: Int32, Sendable {
        /// Making the process.
        case fork
        /// Making the namespaces.
        case namespaces
        /// Keeping this user's identity in its user namespace.
        case userMap
        /// Keeping its mounts to itself.
        case privateMounts
        /// Making a TUN device in its network.
        case device
        /// Bringing loopback up.
        case loopback
        /// Finding the interface and bringing it up.
        case interface
        /// Setting the IPv4 address and route.
        case ipv4
        /// Setting the IPv6 address and route.
        case ipv6
        /// Replacing the resolver's files.
        case resolver
        /// Giving up this user's rights.
        case rights
        /// Becoming the command.
        case exec
    }

    /// What was being done.
    public var step: Step
    /// The system's error number.
    public var code: Int32

    /// Makes the error of a step and an error number.
    public init(step: Step, code: Int32) {
        self.step = step
        self.code = code
    }

    init(_ failure: clinux_step_failure) {
        self.init(step: Step(rawValue: failure.step) ?? .fork, code: failure.code)
    }
}

extension IsolationError: CustomStringConvertible {
    /// What was being done, and the system's words for why it failed.
    public var description: String {
        let doing =
            switch step {
            case .fork: "making a process"
            case .namespaces: "making network and mount namespaces"
            case .userMap: "mapping this user into its namespace"
            case .privateMounts: "making mounts private"
            case .device: "making a tunnel device with /dev/net/tun"
            case .loopback: "bringing loopback up"
            case .interface: "bringing the tunnel's interface up"
            case .ipv4: "setting the IPv4 address and route"
            case .ipv6: "setting the IPv6 address and route"
            case .resolver: "replacing /etc/resolv.conf and /etc/nsswitch.conf"
            case .rights: "giving up capabilities"
            case .exec: "starting the command"
            }
        return unsafe "\(doing): \(String(cString: strerror(code)))"
    }
}
