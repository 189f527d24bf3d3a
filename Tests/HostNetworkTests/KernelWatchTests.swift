import HostNetwork
import NamespaceSupport
import Testing

@Suite(
    "Changes of the kernel's network",
    .enabled(if: obstacle == nil, "needs root, ip, nft"),
    .timeLimit(.minutes(1))
)
struct KernelWatchTests {
    @Test(
        "the kernel tells of rules, routes, addresses and interfaces that change",
        arguments: [
            "nft add table inet umbel_test",
            "ip link add one type veth peer name two",
            "ip address add 192.0.2.1/32 dev lo",
            "ip -6 address add 2001:db8::1/128 dev lo",
            "ip rule add fwmark 7 lookup 7",
            "ip -6 rule add fwmark 7 lookup 7",
            "ip route add 192.0.2.0/24 dev lo table 7",
        ]
    )
    func tells(command: String) async throws {
        let namespace = try NetworkNamespace()
        let (changes, changed) = AsyncStream.makeStream(of: Void.self)
        let watch = try namespace.inside { try KernelWatch.start { changed.yield() } }
        try Command.run(
            ["ip", "netns", "exec", namespace.name] + command.split(separator: " ").map(String.init)
        )
        // Ends by the suite's limit where nothing is told.
        var told = changes.makeAsyncIterator()
        #expect(await told.next() != nil)
        withExtendedLifetime(watch) {}
    }
}
