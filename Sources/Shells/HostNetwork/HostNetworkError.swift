/// Why the kernel's network could not be told something: three lines for a person.
///
/// Printed as `what / why / hint: command`, the form every error of ours has.
public struct HostNetworkError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was being done, naming the command.
    public var what: String
    /// What the program said, or why it could not be asked.
    public var why: String
    /// What to do about it, if that is known.
    public var hint: String?

    /// Makes an error from its three lines.
    public init(what: String, why: String, hint: String? = nil) {
        self.what = what
        self.why = why
        self.hint = hint
    }

    /// The lines, the hint only where there is one.
    public var description: String {
        ([what, why] + (hint.map { ["hint: \($0)"] } ?? [])).joined(separator: "\n")
    }
}

extension HostNetworkError {
    /// The error of `argv`, which ended badly and wrote `message`.
    init(failed argv: [String], status: String, message: String) {
        let text = message.isEmpty ? "it said nothing and \(status)" : message
        self.init(
            what: "`\(argv.joined(separator: " "))` failed",
            // An error has three lines, however many a program says it in.
            why: text.split(separator: "\n").joined(separator: "; "),
            hint: Self.hint(for: text, program: argv.first ?? "")
        )
    }

    /// The error of a program this machine does not have.
    init(missing program: String) {
        self.init(
            what: "the program `\(program)` is missing",
            why: "it is in no folder of PATH, nor in /usr/sbin or /sbin",
            hint: Self.package(of: program).map { "apt-get install \($0)" }
        )
    }

    private static func hint(for message: String, program: String) -> String? {
        if message.contains("Operation not permitted") || message.contains("must be root") {
            return "run as root, or give the process CAP_NET_ADMIN"
        }
        if message.contains("Cannot open network namespace") {
            return "ip netns list"
        }
        if message.contains("Cannot find device") {
            return "ip -brief link"
        }
        if program == "nft", message.contains("Operation not supported") {
            return "modprobe nf_tables nft_masq nft_ct nft_fib_inet"
        }
        return nil
    }

    private static func package(of program: String) -> String? {
        switch program {
        case "ip", "tc": "iproute2"
        case "nft": "nftables"
        case "sysctl": "procps"
        case "ethtool", "tcpdump", "iperf3", "socat", "nginx": program
        case "dnsmasq": "dnsmasq-base"
        default: nil
        }
    }
}
