// RelayCore: a whole relay or exit as values, without input or output.
//
// Duty: RelayShard is the packet path: links, circuits, exit leases of one shard; it opens, peels,
// passes on, hands packets to the TUN device and takes them from it. RelayControl is everything
// slow: handshakes, extensions, control records, the consensus. They speak in RelayCommand
// (control → shard) and RelayEvent (shard → control); key work leaves as jobs and comes back.
// Not its duty: sockets, threads, clocks, files (shells and programs).
//
// Cell:      shell → RelayShard.receive → LinkTable.open → RelayPath → LinkTable.send → shell
// At exits:  … RelayPath → records → ExitGate → TunCoalescer → shell, and back
// Handshake: RelayShard → RelayEvent → RelayControl → job → RelayCommand → RelayShard
// Spec: PROTOCOL.md §B.3, §B.5, §C.
