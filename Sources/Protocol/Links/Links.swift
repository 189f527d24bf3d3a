// Links: neighbours and the sealed datagrams between them.
//
// Duty: the link handshake from both ends (LinkInitiator, LinkResponder, CookieJar) for the control
// plane; for the packet path the table of established links (LinkTable): sessions and their keys,
// replay windows, roaming, liveness, and the datagrams that are ready to leave (DatagramOutput).
// Not its duty: what circuits do with cells (Circuits), sockets (shells), who is listed (Directory).
//
// In:  datagram → LinkTable.open → cell for a circuit | handshake for the control plane | nothing
// Out: cell → LinkTable.send → DatagramOutput, grouped by neighbour
// Spec: PROTOCOL.md §B.5, §C.2.
