// Simulation: the whole network in virtual time, from one seed.
//
// Duty: a World of relays and clients (the node cores as they are, each with control plane, shard
// and generator of its own), a Network that delays, loses, reorders, repeats and garbles datagrams
// and parts addresses from each other, hosts behind the TUN devices whose packets prove themselves
// (ClientHost, InternetHost), a Checker of what must always hold, and a Trace that is the same for
// the same seed.
// Not its duty: sockets, real time, programs. Nothing but tests and tools imports it.
//
// One loop: EventQueue gives the earliest event → a node takes it and settles → its datagrams go
// through Network, its packets to hosts → more events.
