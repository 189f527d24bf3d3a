// ClientCore: a whole client as values, without input or output.
//
// Duty: ClientShard is the packet path: packets of TUN devices are pinned to leases, packed into
// cells and sealed three times; cells that come back are opened and their packets handed out.
// ClientControl is everything slow: the link to the guard, building circuits, keeping a spare
// ready, leases and their takeover, paths. They speak in ClientCommand (control → shard) and
// ClientEvent (shard → control); key work leaves as jobs and comes back.
// Not its duty: sockets, TUN devices, routes, files, the control socket (shells and programs).
//
// Out: shell → receiveFromTunnel → FlowTable → lease → circuit → ClientPath.seal → LinkTable → shell
// In:  shell → receive → LinkTable.open → ClientPath.open → records → TunCoalescer → shell
// Spec: PROTOCOL.md §B.3, §C; design §4.
