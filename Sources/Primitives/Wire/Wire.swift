// Wire: every layout that crosses a network or is signed, as checked views and small values.
//
// Duty: datagrams, link headers, handshake messages, onion layers, records, control messages,
// descriptors, the consensus, IP headers. A view checks its bytes once in `init(parsing:)` and its
// accessors cannot fail afterwards; offsets stand in one table at the bottom of each file.
// Not its duty: state, keys, time. Nothing here decides anything but "well formed or not".
//
// Layouts follow Sources/Protocol/PROTOCOL.md; the section stands at each type.
