// UDPTransport: datagrams in and out of one socket, many at a time.
//
// Duty: receive whole batches into slots of a caller's arena, with GRO (`UDPSocket.receive`, which
// fills `ReceivedRuns`); send datagrams of one size that lie in an arena, grouped by destination
// (Base's `DatagramTrains`), with GSO where the way allows it (`UDPSocket.send`); count what the
// kernel refused. Not its duty: what the bytes mean, whom they are for, or when they are due.
//
// A relay's turn: `receive` puts up to 16 messages, each of up to 47 cells, into its arena; the
// core works on the cells where they lie and lays their offsets out as trains; `send` hands the
// trains to the kernel from the same arena. Buffers and headers exist once, made with the socket:
// a turn allocates nothing.
