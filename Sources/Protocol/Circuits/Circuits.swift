// Circuits: three hops as one conversation.
//
// Duty: the hot halves of a circuit (ClientPath at the client, RelayPath at a relay) with their
// layers; the reliable control conversation between client and hop (ControlChannel); building a
// circuit from the client's end (CircuitBuild) and answering CREATE at a relay (CreateWork,
// CreateFilter).
// Not its duty: links and datagrams (Links), packets (Flows), which relays (Paths), who drives it
// all (ClientCore, RelayCore).
//
// Client: records → ClientPath.seal → link.      link → ClientPath.open → records of one hop
// Relay:  link → RelayPath.openForward → next link, or records for this hop; and back
// Spec: PROTOCOL.md §B.3, §C.3, §C.4.
