// NodeRuntime: threads, sockets and files around the cores; where values meet the world.
//
// Duty: a relay (RelayNode) and a client's daemon (ClientNode) that run: for each one packet thread
// that owns sockets, TUN devices and a shard (RelayLoop, ClientLoop), one control thread that owns
// the control plane, and workers for key work. They speak through bounded mailboxes.
// Not its duty: what packets mean (cores), command lines (umbel).
//
//              ┌────────────── packet thread ──────────────┐
// sockets ──── │ UDPSocket → shard → UDPSocket, TunDevice  │ ──── TUN devices
//              └───────▲ commands ────────── events ▼──────┘
//              ┌──────────────── control thread ───────────┐
// API calls ── │ control plane: jobs ▼ and their results ▲ │ ──── directory files
//              └────────────── WorkerPool ─────────────────┘
