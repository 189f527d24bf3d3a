// HostNetwork: what the kernel's network is told, by its own programs.
//
// Duty: namespaces, interfaces, routes and rules (`ip`), firewalls (`nft`), kernel settings
// (`sysctl`), the resolver file, and `IsolatedProcess`, a command in namespaces of its own. Rules
// are built as text by plain values, so tests read them, and are handed over in one transaction: a
// firewall is there whole or not at all.
// Not its duty: packets (TunDevice, UDPTransport), which exit or which path (cores).
//
// An exit: `ExitFirewall` → nft; a whole machine as client: `ClientLock` (the kill switch, first),
// `ClientRouting`, `ResolverFile`; one program: `IsolatedProcess.start` forks it into its
// namespaces, somebody puts an interface there by its number, `run` sets it up and lets it go on;
// the lab: `NetworkNamespace`. Everything runs through `CommandRunner`, which keeps to the
// `DescriptorReserve`.
