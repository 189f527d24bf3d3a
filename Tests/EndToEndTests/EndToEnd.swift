import Foundation
import HostNetwork
import Testing

/// Why labs cannot be built here; `nil` where they can.
let obstacle: String? = {
    guard getuid() == 0 else { return "not root" }
    let programs = [
        "ip", "nft", "tc", "ethtool", "nginx", "dnsmasq", "iperf3", "socat", "curl", "ping", "dig",
        "setpriv", "unshare",
    ]
    for program in programs {
        guard (try? CommandRunner.locate(program)) != nil else { return "no \(program)" }
    }
    return nil
}()

/// Real programs in network namespaces: the outer ring of the tests.
///
/// One lab at a time, for the machine has few cores and the tests measure time. Suites are in
/// extensions, a file each; those with a `.lab` share that lab among their tests, which leave it
/// as they found it.
@Suite(
    "Real programs",
    .serialized,
    .enabled(if: obstacle == nil, "\(obstacle ?? "labs can be built here")")
)
struct EndToEnd {}
