// HostNetwork: what the host's kernel does for us besides sockets and TUN.
//
// Duty: `IsolatedProcess`, a command in network and mount namespaces of its own, whose only way
// out is the one interface it is given.
// Not its duty: making that interface (TunDevice), or deciding who gets one.
//
// A command's way: `IsolatedProcess.start` forks it into its namespaces, somebody puts an
// interface there by the process's number, `run` sets the interface, the routes and the resolver up
// and lets the process become the command, `wait` says how it ended.
