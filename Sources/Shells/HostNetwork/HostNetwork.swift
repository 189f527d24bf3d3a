// HostNetwork: what the kernel's network is told, by its own programs.
//
// Duty: namespaces, interfaces, routes and rules (`ip`), firewalls (`nft`), kernel settings
// (`sysctl`) and the resolver file. Rules are built as text by plain values, so tests read them,
// and are handed over in one transaction: a firewall is there whole or not at all.
// Not its duty: packets (TunDevice, UDPTransport), which exit or which path (cores).
//
// An exit: `ExitFirewall` → nft; a whole machine as client: `ClientLock` (the kill switch, first),
// `ClientRouting`, `ResolverFile`; `umbel run` and the lab: `NetworkNamespace`, `InterfaceSetup`.
// Everything runs through `CommandRunner`, which may be bound to a namespace.
